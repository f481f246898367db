"""What the hub is asked and told: its token, its record of a file, its switch for offline use."""

import getpass
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from localvoice.catalog import DownloadError
from tests.support.fake_hub import DATA, FakeHub, fetch, hub_source, model, package_source

RECORD = "/me/gate/resolve/main/gate.onnx"


def test_token_goes_to_the_hub_and_not_to_its_store(hub: FakeHub, folder: Path) -> None:
    store = hub.add_file("me/gate", "gate.onnx", DATA)
    fetch([model(hub_source())], folder)
    first, second = hub.requests
    assert first.authorization == "Bearer secret-token"
    assert (second.path, second.authorization) == (store, None)


def test_a_download_sends_nothing_of_the_user(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests for files, from a hub and a package index, with what any client says of itself."""
    monkeypatch.delenv("HF_TOKEN")
    hub.add_file("me/gate", "gate.onnx", DATA)
    hub.add_wheel("tools==1", {"tools/gate.onnx": DATA})
    wheel = package_source(("tools==1", "tools/gate.onnx"))
    fetch([model(hub_source()), model(wheel, name="other")], folder)
    assert {request.method for request in hub.requests} <= {"GET", "HEAD"}
    said = {name.lower() for request in hub.requests for name in request.headers}
    assert said <= {"host", "user-agent", "accept", "accept-encoding", "connection", "range"}
    agents = {request.headers.get("User-Agent", "") for request in hub.requests}
    own = (getpass.getuser(), socket.gethostname(), str(Path.home()), str(folder))
    assert not [word for agent in agents for word in own if word in agent]


def test_a_hub_that_redirects_elsewhere_gets_no_token_there(hub: FakeHub, folder: Path) -> None:
    """A file without a SHA-256 asks for its record, and may be sent on before anyone has one."""
    hub.add_file("me/moved", "gate.onnx", DATA)
    hub.answers(RECORD, {"Location": f"http://localhost:{hub.port}/me/moved/resolve/main/gate.onnx"})
    fetch([model(hub_source(), pinned=False)], folder)
    tokens = {(request.host.partition(":")[0], request.authorization) for request in hub.requests}
    assert tokens == {("127.0.0.1", "Bearer secret-token"), ("localhost", None)}


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, "nothing can pin it"),
        ({"Location": RECORD}, "redirects without end"),
        ({"Location": "http://127.0.0.1:port/"}, "Invalid URL in location header"),
        ({"Location": "file:///etc/passwd"}, "unsupported protocol .file:"),
        ({"X-Linked-Etag": "0" * 64, "X-Linked-Size": "\u00b2"}, "nothing can pin it"),
        ({"X-Linked-Etag": "0" * 64, "X-Linked-Size": "9" * 5000}, "nothing can pin it"),
        ({"X-Linked-Etag": "../../x", "X-Linked-Size": "9"}, "nothing can pin it"),
        (
            {"X-Linked-Etag": "0" * 64, "X-Linked-Size": "9", "X-Repo-Commit": "c" * 5000},
            "nothing can pin it",
        ),
    ],
)
def test_a_hub_that_answers_nonsense_is_a_reason(
    hub: FakeHub, folder: Path, headers: dict[str, str], told: str
) -> None:
    hub.answers(RECORD, headers)
    with pytest.raises(DownloadError, match=told):
        fetch([model(hub_source(), pinned=False)], folder)
    assert not (folder / "gate").exists()


def test_a_store_out_of_reach_does_not_give_up_the_hub(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,127.0.0.2,localhost")
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        hub.answers(RECORD, {"Location": f"http://127.0.0.2:{closed.getsockname()[1]}/store"})
        hub.add_file("me/other", "gate.onnx", DATA, large=False)
        with pytest.raises(DownloadError, match=r"1 model file\(s\)(.|\n)*no connection to 127\.0\.0\.2: "):
            fetch([model(hub_source()), model(hub_source(repo="me/other"), name="other")], folder)
    assert (folder / "other" / "gate.onnx").read_bytes() == DATA


def test_hub_offline_switch_of_the_engines_does_not_matter(hub: FakeHub, folder: Path) -> None:
    hub.add_file("me/gate", "gate.onnx", b"abc")
    code = (
        "import sys; from pathlib import Path; import localvoice.engines; from rich.console import Console\n"
        "from localvoice.catalog.download import Downloads\n"
        "from localvoice.catalog.display import Display\n"
        "from localvoice.catalog.schema import Model\n"
        "model = Model.model_validate_json(sys.argv[1])\n"
        "with Display(Console()) as display:\n"
        "    downloads = Downloads(Path(sys.argv[2]), display); downloads.bring([model]); downloads.close()\n"
    )
    text = model(hub_source(), data=b"abc").model_dump_json()
    subprocess.run([sys.executable, "-c", code, text, str(folder)], check=True, capture_output=True)
    assert (folder / "gate" / "gate.onnx").read_bytes() == b"abc"
