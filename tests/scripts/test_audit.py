"""The audit: pip-audit itself against a service on localhost, and what is made of its answers."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import audit
import pytest
from audit import Audited, Fault, NoAnswer, Report, judge
from locked import Locked, locked
from rich.console import Console

KNOWN = {
    "id": "EXAMPLE-2026-1",
    "summary": "lets a stranger in",
    "affected": [
        {
            "package": {"name": "aiohttp", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}


class Service(BaseHTTPRequestHandler):
    """Answers as OSV does."""

    faulty = ""
    status = 200

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {"vulns": [KNOWN]} if asked["package"]["name"] == self.faulty else {}
        body = json.dumps(found).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Service]]:
    class Own(Service):
        """Of this test."""

    lock = tmp_path / "some.lock"
    lock.write_text("aiohttp==3.14.5 --hash=sha256:" + "a" * 64 + "\nrich==15.0.0 --hash=sha256:" + "b" * 64)
    monkeypatch.setattr(audit, "RUNTIME_LOCKS", (lock,))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}/v1/query")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Own
    server.shutdown()
    thread.join()
    server.server_close()


def judged(report: Report, *wanted: str) -> tuple[int, str]:
    text = io.StringIO()
    packages = tuple(Locked(name, "1.0", ()) for name in wanted)
    return judge(report, packages, Console(file=text, width=250)), text.getvalue()


def test_a_known_fault_is_shown_with_the_version_that_fixes_it(service: type[Service]) -> None:
    service.faulty = "aiohttp"
    code, text = judged(audit.ask("osv"), "aiohttp", "rich")
    assert code == 1
    assert "aiohttp 3.14.5" in text and "EXAMPLE-2026-1" in text and "99.1" in text
    assert "lets a stranger in" in text


def test_nothing_known_of_any_is_good(service: type[Service]) -> None:
    code, text = judged(audit.ask("osv"), "aiohttp", "rich")
    assert (code, text.strip()) == (0, "Of 2 packages no fault is known.")


def test_a_service_that_fails_is_no_good_news(service: type[Service]) -> None:
    service.status = 500
    with pytest.raises(NoAnswer):
        audit.ask("osv")


def test_what_could_not_be_asked_about_is_no_good_news() -> None:
    """pip-audit says "No known vulnerabilities found" then, and ends with 0."""
    report = Report(
        dependencies=[Audited(name="rich", version="15.0.0"), Audited(name="av", skip_reason="not found")]
    )
    code, text = judged(report, "rich", "av")
    assert code == audit.NOT_ASKED
    assert "1 could not be asked about" in text and "(av)" in text and "--service osv" in text
    assert judged(Report(dependencies=[]), "rich")[0] == audit.NOT_ASKED


def test_a_fault_counts_more_than_what_could_not_be_asked() -> None:
    fault = Fault(id="EXAMPLE-2", fix_versions=[])
    report = Report(dependencies=[Audited(name="rich", version="15.0.0", vulns=[fault])])
    code, text = judged(report, "rich", "av")
    assert code == 1 and "no version yet" in text and "(av)" in text


def test_all_that_runs_is_asked_about() -> None:
    assert {"llama-cpp-python", "aiohttp", "piper-tts"} <= {package.name for package in locked()}
