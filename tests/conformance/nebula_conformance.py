"""A pytest plugin that runs the public S3 suite (ceph/s3-tests) against one appliance with an empty data directory.

The suite empties every bucket that it can see before and after each test, which several workers on one server cannot bear and a
directory that is thrown away does not need: nothing is cleaned here. What became of each test is appended to a file, one line each.
"""

import os

import pytest

RESULTS = os.environ["NEBULA_CONFORMANCE_RESULTS"]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    import s3tests.functional as functional

    functional.setup = lambda: None
    functional.teardown = lambda: None
    config.nebula_is_worker = hasattr(config, "workerinput")


class Recorder:
    """Gathers the phases of each test; a test passes when all of them do."""

    def __init__(self):
        self.failed = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report):
        name = report.nodeid.rsplit("::", 1)[-1]
        if report.failed:
            # The last line says what was wrong; the rest is in pytest's own output.
            self.failed.setdefault(name, str(report.longrepr).strip().splitlines()[-1][:200])
        if report.skipped:
            self.failed.setdefault(name, "skipped by the suite")
        if report.when != "teardown":
            return
        line = f"- {name} {self.failed[name]}" if name in self.failed else f"+ {name}"
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def pytest_sessionstart(session):
    if not session.config.nebula_is_worker:
        session.config.pluginmanager.register(Recorder())
