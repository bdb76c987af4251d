"""What all programs of this folder share: how they report."""
import json
import os
import traceback

env = os.environ


def report(**line):
    print(json.dumps(line), flush=True)


def step(name):
    """Does one step, a function that returns a dictionary or nothing."""

    def do(work):
        try:
            report(step=name, ok=True, values=work() or {})
        except Exception:
            report(step=name, ok=False, error=traceback.format_exc())
        return work

    return do


def refused(name, text):
    """Does one step that must fail with an error that says the text."""

    def do(work):
        try:
            work()
        except Exception as e:
            if text in str(e):
                report(step=name, ok=True, values={"error": str(e)})
            else:
                report(step=name, ok=False, error=traceback.format_exc())
            return work
        report(step=name, ok=False, error=f"it was not refused; want an error with {text}")
        return work

    return do


def end():
    report(step="end", ok=True)


def must(truth, what):
    if not truth:
        raise AssertionError(what)
