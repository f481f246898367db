# Read right after llama.cpp's own project(): llama-cpp-python forces its "common" library on, which is 57 of
# 193 build steps, and then never loads it. A normal variable hides that forced cache entry.
set(LLAMA_BUILD_COMMON OFF)
