"""What is in the image. The Dockerfile says the same for those with an engine; a test compares."""

NAME = "localhost/taskpass:dev"
SUITE = "bookworm"
PYTHON = "3.11"
"""The suite's own Python, which the dependencies are installed for."""
PACKAGES = ("python3", "ca-certificates")
"""Debian packages on top of the smallest system (python3-minimal lacks sqlite3 and ssl)."""
LOCK = "requirements/run.lock"
LIBRARIES = "/opt/taskpass/lib"
CODE = "/opt/taskpass/app"
USER = "65532:65532"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH": f"{CODE}:{LIBRARIES}",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
ENTRYPOINT = ("taskpass",)
SCRIPT = "usr/local/bin/taskpass"
"""The command; its text is e2e/image/taskpass."""
