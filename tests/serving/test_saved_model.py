"""SavedModels in sessions of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serving.deep_arrays import shape_of, shaped
from serving.errors import Code, FailedPrecondition, InvalidArgument, NotFound, ServingError
from serving.servable import Signature
from tests.processes import ROOT
from tests.serving.toy import Toy, spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.servable import Array

pytestmark = pytest.mark.tensorflow

MEMORY_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from serving.saved_model import SessionOptions, load_saved_model

def resident_mb():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024

before = resident_mb()
servable = load_saved_model(Path(sys.argv[1]), SessionOptions())
for name in ("one", "two"):
    servable.run(name, {"x": np.ones((1, 1024), np.float32)}, None)
print(resident_mb() - before)
"""

RUN_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from serving.saved_model import SessionOptions, load_saved_model

servable = load_saved_model(Path(sys.argv[1]), SessionOptions())
x, word = np.array([1, 2], np.float32), np.array([b"b", b"z"], object)
print(servable.run("sum", {"x": x}, 10)["y"].tolist(), servable.run("number", {"word": word}, 10)["n"].tolist())
assert "tensorflow._api" not in sys.modules
"""


@pytest.fixture(scope="module")
def tf() -> Any:
    """TensorFlow, which takes seconds to import."""
    import tensorflow as imported  # noqa: ICN001, PLC0415

    return imported


@pytest.fixture(scope="module")
def version(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with a counter, a convolution, and an identity of any rank."""
    module = tf.Module()
    module.counter = tf.Variable(0.0)
    module.kernel = tf.Variable(tf.ones([3, 3, 3, 2]))
    spec = tf.TensorSpec

    def convolve(image: Any) -> dict[str, Any]:
        smaller = tf.nn.conv2d(image, module.kernel, 2, "VALID")
        return {"y": tf.nn.max_pool2d(smaller, 3, 1, "VALID")}

    signatures = {
        "add": tf.function(
            lambda x: {"y": module.counter.assign_add(x)}, [spec([], tf.float32, "x")]
        ),
        "convolve": tf.function(convolve, [spec([None, None, None, 3], tf.float32, "image")]),
        "any": tf.function(
            lambda x: {"y": x + module.counter * 0.0}, [spec(None, tf.float32, "x")]
        ),
    }
    path = tmp_path_factory.mktemp("m") / "1"
    tf.saved_model.save(module, str(path), signatures)
    return path


@pytest.fixture
def servable(version: Path) -> Any:
    """The version, loaded afresh."""
    from serving.saved_model import SessionOptions, load_saved_model  # noqa: PLC0415  # TensorFlow

    loaded = load_saved_model(version, SessionOptions())
    yield loaded
    loaded.close()


def test_state_is_kept_under_concurrent_calls(servable: Any) -> None:
    """What a signature assigns stays, and no call's addition is lost."""
    one = {"x": np.float32(1).reshape(())}
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda _: float(servable.run("add", one, 10)["y"]), range(200)))
    assert max(sums) == 200
    assert float(servable.run("add", {"x": np.zeros((), np.float32)}, 10)["y"]) == 200


def test_several_first_requests_compile_a_signature_once(
    servable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that come while it is compiled wait for it, instead of each compiling it again."""
    from serving.graph_signature import GraphSignature  # noqa: PLC0415  # TensorFlow

    compiled = []

    def compile_slowly(self: Any, timeout_seconds: float) -> Any:
        compiled.append(timeout_seconds)
        time.sleep(0.3)
        return original(self, timeout_seconds)

    original = GraphSignature._compiled
    monkeypatch.setattr(GraphSignature, "_compiled", compile_slowly)
    one = {"x": np.float32(1).reshape(())}
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda _: float(servable.run("add", one, 10)["y"]), range(8)))
    assert max(sums) == 8
    assert compiled == [10]


@pytest.mark.parametrize(
    "shape", [(20, 20, 3), (1, 1, 20, 20, 3), (), (1, 5, 5, 3), (1, 20, 20, 4)]
)
def test_shapes_that_would_end_the_process_are_refused(servable: Any, shape: Any) -> None:
    """An image of another rank, or too small, is an error; the next image is answered."""
    with pytest.raises(InvalidArgument):
        servable.run("convolve", {"image": np.zeros(shape, np.float32)}, 10)
    for size in (20, 30):
        image = np.ones((2, size, size, 3), np.float32)
        assert servable.run("convolve", {"image": image}, 10)["y"].max() == 27


def test_kernels_that_do_not_die_speak_for_themselves(tf: Any, tmp_path: Path) -> None:
    """Where there is no convolution, an odd shape is refused in the kernel's words, as by the real server."""
    from serving.saved_model import SessionOptions, load_saved_model  # noqa: PLC0415  # TensorFlow

    spec_of_x = tf.TensorSpec([None, None, 4], tf.float32, "x")
    multiply = tf.function(lambda x: {"y": x @ tf.ones([4, 2])}, input_signature=[spec_of_x])
    tf.saved_model.save(tf.Module(), str(tmp_path), {"serving_default": multiply})
    servable = load_saved_model(tmp_path, SessionOptions())
    with pytest.raises(ServingError, match=r"size-incompatible: In\[0\]: \[1,1,3\]"):
        servable.run("serving_default", {"x": np.zeros((1, 1, 3), np.float32)}, 10)
    servable.close()


def test_ranks_beyond_numpys(servable: Any) -> None:
    """A tensor of 200 dimensions goes through the graph, sharing its state."""
    deep = shaped(np.array([1.5, 2.5], np.float32), (1,) * 199 + (2,))
    answer = servable.run("any", {"x": deep}, 10)["y"]
    assert shape_of(answer) == (1,) * 199 + (2,)
    assert answer.tolist() == [1.5, 2.5]


def test_types_are_checked_against_the_graph(servable: Any) -> None:
    """The wrong type is refused as the real server words it."""
    with pytest.raises(InvalidArgument, match=r"Expects arg\[0\] to be float but int64 is"):
        servable.run("any", {"x": np.array([1])}, 10)


def test_what_cannot_be_loaded(tmp_path: Path, version: Path) -> None:
    """No file, a broken file and missing tags each have their code and sentence."""
    from serving.saved_model import SessionOptions, load_saved_model  # noqa: PLC0415  # TensorFlow

    with pytest.raises(NotFound, match="Could not find SavedModel"):
        load_saved_model(tmp_path, SessionOptions())
    (tmp_path / "saved_model.pb").write_bytes(b"rubbish")
    with pytest.raises(ServingError, match="Can't parse") as broken:
        load_saved_model(tmp_path, SessionOptions())
    assert broken.value.code is Code.DATA_LOSS
    with pytest.raises(NotFound, match=r"matching supplied tags: \{ gpu \}"):
        load_saved_model(version, SessionOptions(tags=("gpu",)))


def test_broken_variables_are_told_in_the_words_of_the_restore(
    tmp_path: Path, version: Path
) -> None:
    """As by the real server: no words of a Python session before them."""
    from serving.saved_model import SessionOptions, load_saved_model  # noqa: PLC0415  # TensorFlow

    variables = shutil.copytree(version, tmp_path / "1") / "variables"
    (values,) = variables.glob("variables.data-*")
    values.unlink()
    with pytest.raises(ServingError) as missing:
        load_saved_model(tmp_path / "1", SessionOptions())
    assert missing.value.code is Code.NOT_FOUND
    assert missing.value.message.startswith(f"{values}; No such file or directory")
    (variables / "variables.index").write_bytes(b"rubbish")
    with pytest.raises(ServingError) as rubbish:
        load_saved_model(tmp_path / "1", SessionOptions())
    assert rubbish.value.code is Code.DATA_LOSS


def test_a_saved_model_as_text_is_served(tmp_path: Path, version: Path) -> None:
    """Where there is a `saved_model.pbtxt` instead of the binary file."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: PLC0415  # TensorFlow

    from serving.saved_model import SessionOptions, load_saved_model  # noqa: PLC0415

    copied = shutil.copytree(version, tmp_path / "1")
    binary = copied / "saved_model.pb"
    (copied / "saved_model.pbtxt").write_text(str(SavedModel.FromString(binary.read_bytes())))
    binary.unlink()
    servable = load_saved_model(copied, SessionOptions())
    assert servable.run("any", {"x": np.ones(2, np.float32)}, 10)["y"].tolist() == [1, 1]
    servable.close()
    (copied / "saved_model.pbtxt").write_text("rubbish")
    with pytest.raises(ServingError, match="Can't parse"):
        load_saved_model(copied, SessionOptions())


def test_an_asset_record_that_is_none_is_a_sentence(tmp_path: Path, version: Path) -> None:
    """As TensorFlow 1 wrote them: packed messages in a collection."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: PLC0415  # TensorFlow

    from serving.saved_model import SessionOptions, load_saved_model  # noqa: PLC0415

    file = shutil.copytree(version, tmp_path / "1") / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    packed = saved.meta_graphs[0].collection_def["saved_model_assets"].any_list.value
    packed.add(value=b"rubbish")
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(ServingError, match="Could not load the SavedModel") as broken:
        load_saved_model(tmp_path / "1", SessionOptions())
    assert broken.value.code is Code.INVALID_ARGUMENT


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_what_loading_frees_is_given_back(tf: Any, tmp_path: Path) -> None:
    """A model with two compiled signatures holds six times its constants, not the fifteen of its loading."""
    module = tf.Module()
    module.kernels = [tf.random.normal([1024, 1024]) for _ in range(16)]
    takes = [tf.TensorSpec([None, 1024], tf.float32, "x")]

    def chain(x: Any) -> Any:
        for kernel in module.kernels:
            x = tf.nn.relu(x @ kernel)
        return x

    once = tf.function(chain, takes)
    signatures = {
        name: tf.function(lambda x, times=times: {"y": once(x) * times}, takes)
        for name, times in (("one", 1.0), ("two", 2.0))
    }
    tf.saved_model.save(module, str(tmp_path), signatures)
    answer = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    constants_mb = 16 * 4
    assert constants_mb < int(answer.stdout) < 8 * constants_mb


def test_warm_up(tf: Any, servable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded requests are replayed as requests will run; one that fails, or a broken file, fails the load."""
    from tensorflow_serving.apis import prediction_log_pb2  # noqa: PLC0415  # TensorFlow

    from serving.warmup import REQUESTS_FILE, warm_up  # noqa: PLC0415

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = "add"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(2.0, tf.float32))
    file = tmp_path / REQUESTS_FILE
    warm_up(servable, tmp_path, 1)
    written(tf, log, tmp_path)
    timeouts: list[float | None] = []
    run = servable.run
    with monkeypatch.context() as patched:
        patched.setattr(servable, "run", lambda *asked: (timeouts.append(asked[2]), run(*asked))[1])
        warm_up(servable, tmp_path, 3, 30.0)
    assert timeouts == [30.0] * 3
    assert float(servable.run("add", {"x": np.zeros((), np.float32)}, 10)["y"]) == 6
    request.model_spec.signature_name = "nope"
    written(tf, log, tmp_path)
    with pytest.raises(FailedPrecondition, match='"nope" not found'):
        warm_up(servable, tmp_path, 1)
    file.write_bytes(b"no records" * 10)
    with pytest.raises(ServingError, match="TFRecord format"):
        warm_up(servable, tmp_path, 1)


def written(tf: Any, log: Any, version_path: Path) -> None:
    """Make a record the one warm-up request of a version."""
    from serving.warmup import REQUESTS_FILE  # noqa: PLC0415  # TensorFlow

    file = version_path / REQUESTS_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())


def test_every_kind_of_warm_up_record(tf: Any, tmp_path: Path) -> None:
    """MultiInference is replayed, what is streamed or unknown passed over, and a session's run alone fails the load."""
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog  # noqa: PLC0415  # TensorFlow

    from serving.warmup import warm_up  # noqa: PLC0415  # TensorFlow

    regression = Signature({"inputs": spec("string")}, {"outputs": spec()})
    toy = Toy({"regress": (regression, lambda _: {"outputs": np.ones(1, np.float32)})})
    log = PredictionLog()
    request = log.multi_inference_log.request
    request.input.example_list.examples.add()
    task = request.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.name, task.model_spec.signature_name = "m", "regress"
    written(tf, log, tmp_path)
    warm_up(toy, tmp_path, 2)
    assert len(toy.calls) == 2
    log.predict_streamed_log.SetInParent()
    for passed_over in (log, PredictionLog()):
        written(tf, passed_over, tmp_path)
        warm_up(toy, tmp_path, 1)
    log.session_run_log.SetInParent()
    written(tf, log, tmp_path)
    with pytest.raises(ServingError, match="Unsupported log_type for warmup: 5") as refused:
        warm_up(toy, tmp_path, 1)
    assert refused.value.code is Code.UNIMPLEMENTED


def test_a_first_run_may_take_longer_than_the_timeout(tf: Any, tmp_path: Path) -> None:
    """What the timeout ends is run again without, since the real server warms up without one."""
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog  # noqa: PLC0415  # TensorFlow

    from serving.warmup import warm_up  # noqa: PLC0415  # TensorFlow

    timeouts: list[float | None] = []

    class Slow(Toy):
        def run(
            self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
        ) -> dict[str, Array]:
            """Never be in time."""
            timeouts.append(timeout_seconds)
            if timeout_seconds is not None:
                raise ServingError("Timed out", Code.DEADLINE_EXCEEDED)
            return super().run(signature_name, inputs, timeout_seconds)

    slow = Slow({"serving_default": (Signature({}, {"y": spec()}), lambda _: {"y": np.ones(1)})})
    log = PredictionLog()
    log.predict_log.SetInParent()
    written(tf, log, tmp_path)
    warm_up(slow, tmp_path, 1, 0.5)
    assert timeouts == [0.5, None]


def test_what_tensorflow_1_wrote_is_served(tf: Any, tmp_path: Path) -> None:
    """Variables of both kinds, a loop of its control flow and a table read from an asset, by the part that is imported."""
    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    _write_tensorflow_1(tf.compat.v1, words, tmp_path / "1")
    command = [sys.executable, "-c", RUN_PROGRAM, str(tmp_path / "1")]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert process.stdout == "[6.5, 7.0] [1, 2]\n", process.stderr


def _write_tensorflow_1(v1: Any, words: Path, folder: Path) -> None:
    builder = v1.saved_model.Builder(str(folder))
    sign = v1.saved_model.signature_def_utils.predict_signature_def
    was_v2 = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(v1.float32, [None])
        half = v1.get_variable("half", initializer=0.5, use_resource=False)
        two = v1.get_variable("two", initializer=2.0, use_resource=True)
        _, thrice = v1.while_loop(
            lambda i, _: i < 3, lambda i, total: (i + 1, total + two), [0, x * half]
        )
        word = v1.placeholder(v1.string, [None])
        table = v1.lookup.StaticVocabularyTable(
            v1.lookup.TextFileInitializer(
                str(words),
                v1.string,
                v1.lookup.TextFileIndex.WHOLE_LINE,
                v1.int64,
                v1.lookup.TextFileIndex.LINE_NUMBER,
            ),
            num_oov_buckets=1,
        )
        signatures = {
            "sum": sign({"x": x}, {"y": thrice}),
            "number": sign({"word": word}, {"n": table.lookup(word)}),
        }
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signatures,
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            legacy_init_op=v1.tables_initializer(),
        )
        builder.save()
    if was_v2:
        v1.enable_control_flow_v2()
