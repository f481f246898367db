/* A sound device that a test can pull: while the file $DEVICE_PULLED holds a 1, ALSA says that there is none.
 * For LD_PRELOAD, over ALSA's null device, which is slowed down here to about its own pace. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct pcm pcm;
static volatile char *pulled;

__attribute__((constructor)) static void open_flag(void) {
    void *shared = mmap(0, 1, PROT_READ, MAP_SHARED, open(getenv("DEVICE_PULLED"), O_RDONLY), 0);
    if (shared != MAP_FAILED) pulled = shared;
}

static int is_pulled(void) { return pulled && *pulled == '1'; }

static void *original(const char *name) { /* Python loads the library for itself: RTLD_NEXT wouldn't see it */
    return dlsym(dlopen("libasound.so.2", RTLD_LAZY), name);
}

int snd_pcm_open(pcm **device, const char *name, int stream, int mode) {
    static int (*real)(pcm **, const char *, int, int);
    if (!real) real = original("snd_pcm_open");
    return is_pulled() ? -ENOENT : real(device, name, stream, mode);
}

long snd_pcm_avail_update(pcm *device) {
    static long (*real)(pcm *);
    if (!real) real = original("snd_pcm_avail_update");
    usleep(10000);
    return is_pulled() ? -ENODEV : real(device);
}

long snd_pcm_mmap_commit(pcm *device, unsigned long offset, unsigned long frames) {
    static long (*real)(pcm *, unsigned long, unsigned long);
    if (!real) real = original("snd_pcm_mmap_commit");
    return is_pulled() ? -ENODEV : real(device, offset, frames);
}

int snd_pcm_prepare(pcm *device) {
    static int (*real)(pcm *);
    if (!real) real = original("snd_pcm_prepare");
    return is_pulled() ? -ENODEV : real(device);
}

int snd_pcm_start(pcm *device) {
    static int (*real)(pcm *);
    if (!real) real = original("snd_pcm_start");
    return is_pulled() ? -ENODEV : real(device);
}
