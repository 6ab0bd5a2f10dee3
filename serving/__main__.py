"""Start the model server: `python -m serving --rest_api_port=… --model_base_path=…`."""

from __future__ import annotations

import gc
import logging
import os
import platform
import signal
import sys
import time
from importlib.metadata import version

from serving.errors import ServingError
from serving.flags import parse_flags

EXIT_FAILED_TO_START = 255


def main() -> int:
    """Run until told to stop; return the exit status."""
    # While it starts, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    flags = parse_flags(sys.argv[1:])
    if flags.version:
        sys.stdout.write(
            f"TensorFlow ModelServer: {version('tensorflow-serving-api')} (python -m serving)\n"
            f"TensorFlow Library: {version('tensorflow')}\n"
        )
        return 0
    _set_up_logging()
    set_up_tensorflow()
    gc.disable()  # to look for garbage among all these modules takes a fifth of their import
    from serving.server import Server  # noqa: PLC0415  # imports TensorFlow: takes seconds

    gc.freeze()  # nor will any of them be garbage later
    gc.enable()
    try:
        Server(flags).run()
    except ServingError as error:
        sys.stdout.write(f"Failed to start server. Error: {error.status_text()}\n")
        return EXIT_FAILED_TO_START
    return 0


def set_up_tensorflow() -> None:
    """Say, before TensorFlow is imported, what nobody has said otherwise in the environment."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if platform.machine() == "x86_64":
        # By itself TensorFlow has oneDNN only where the processor has AVX-512 or AVX instructions for neural networks.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _set_up_logging() -> None:
    """Write lines to standard error that are stamped as the router's: UTC, ISO 8601, milliseconds."""
    stamped = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
    formatter = logging.Formatter(stamped, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # at once: idle connections and TensorFlow's threads are of no use any more
