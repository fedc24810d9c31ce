import signal
import threading

import pytest

from everlearn.cli.interrupt import cancelled_by_ctrl_c


class Work:
    cancelled = 0

    def cancel(self):
        self.cancelled += 1


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """A shell that starts the tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_cancels_and_the_second_interrupts():
    work = Work()
    with pytest.raises(KeyboardInterrupt), cancelled_by_ctrl_c(work):
        signal.raise_signal(signal.SIGINT)
        assert work.cancelled == 1
        signal.raise_signal(signal.SIGINT)


def test_afterwards_ctrl_c_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with cancelled_by_ctrl_c(Work()):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_goes_without():
    done = []

    def run():
        with cancelled_by_ctrl_c(Work()):
            done.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [True]
