"""Predict millions of images: Ray Data spreads the files over processes, here or on a cluster; results are Parquet.

See docs/many_images.md."""

import hashlib
import itertools
import json
import time
from pathlib import Path

import cv2
import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import ray

from emotions import DEFAULT_MODEL, backend, files
from emotions.data.images import HIDDEN
from emotions.predict import classifier as classifiers
from emotions.predict.classifier import BOX

BLOCK = 500  # files whose rows become one Parquet file, and that are predicted again if their process is killed


def predict_many(sources: list[str], output: str, model: str | Path = DEFAULT_MODEL, *, class_names=None,
                 faces: bool = True, unsure_below: float = 0.0, address: str = "local") -> dict:
    """Predict all images of the sources that `output` does not hold yet.

    Args:
        sources: folders, with all files in them; .txt files with a path per line; Parquet files with a column `path`;
            or images. Each may be a path or any address that fsspec knows, such as s3://bucket/folder.
        output: a folder, or its address, for Parquet files with a row per face: the columns of `Classifier.predict`.
        address: of a Ray cluster, where every machine has this package, and the model under the same path.

    Returns `images`, predicted now; `errors`, rows that hold one; `core_seconds`, the workers' time on processors.
    ValueError, OSError: a source is missing or empty, or `output` was made with other choices. RuntimeError: some
    images have no row, for their processes ended again and again; Ray's log says why."""
    options = {"model": str(file := classifiers.find(model).absolute()),
               "class_names": class_names and list(class_names), "faces": faces, "unsure_below": unsure_below}
    output = _absolute(output)
    given = (path for path in itertools.chain(*map(paths_of, sources)) if not path.startswith(f"{output}/"))
    paths = pc.unique(pa.array(given, pa.string()))
    _same_choices(output, options | {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()})
    paths = _left(paths, output)
    if not ray.is_initialized():
        ray.init(address, log_to_driver=False)
    workers = int(ray.cluster_resources()["CPU"])  # processes, of one core each
    size = max(1, min(BLOCK, len(paths) // (4 * workers)))
    blocks = [pa.table({"path": paths[start : start + size]}) for start in range(0, len(paths), size)]
    told = _run(blocks, workers, output=output, **options) if blocks else []
    if missing := len(_left(paths, output)):
        raise RuntimeError(f"{missing} images have no row: their processes ended again and again, see Ray's log.")
    return {"images": len(paths), **{name: sum(row[name] for row in told) for name in ("errors", "core_seconds")}}


def paths_of(source: str) -> list[str]:
    """Return the images of a source of `predict_many`, as absolute paths or addresses, sorted within a folder."""
    source = _absolute(source)
    system, place = fsspec.core.url_to_fs(source)
    if not system.exists(place):
        raise FileNotFoundError(f"There is no file {source}.")
    if system.isdir(place):
        names = sorted(name for name in system.find(place) if not HIDDEN.search(name.removeprefix(place)))
        names = [system.unstrip_protocol(name) if "://" in source else name for name in names]
    elif source.endswith(".parquet"):
        names = pd.read_parquet(source, columns=["path"])["path"].tolist()
    elif source.endswith(".txt"):
        names = [line for line in system.read_text(place, encoding="utf-8-sig").splitlines() if line]
    else:
        names = [source]
    if not names:
        raise ValueError(f"There are no files in {source}.")
    return [_absolute(name) for name in names]


class Worker:
    """A process that loads the model once, and then writes the rows of one block of files after the other."""

    def __init__(self, output: str, model: str, class_names, **options):
        cv2.setNumThreads(1)  # there is a process for every core
        self.classifier, self.output, self.options = classifiers.load(model, class_names), output, options
        columns = dict.fromkeys(BOX, pa.int64()) | {"detected": pa.bool_(), "confidence": pa.float64()}
        columns |= dict.fromkeys(self.classifier.class_names, pa.float64())
        self.schema = pa.schema([(name, columns.get(name, pa.string())) for name in self.classifier.table([])])

    def __call__(self, block: pa.Table) -> dict:
        started, paths = time.process_time(), block["path"].to_pylist()
        items = ((path, path if "://" in path else Path(path)) for path in paths)
        table = self.classifier.table(itertools.chain(*self.classifier.rows(items, Exception, **self.options)))
        # Named after its paths, so that a block that is predicted again replaces itself.
        name = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:16]
        system, folder = fsspec.core.url_to_fs(self.output)
        with system.open(f"{folder}/.{name}.writing", "wb") as file:
            pq.write_table(pa.Table.from_pandas(table, self.schema, preserve_index=False), file)
        system.mv(f"{folder}/.{name}.writing", f"{folder}/{name}.parquet")
        errors = int(table["error"].notna().sum())
        return {"errors": [errors], "core_seconds": [time.process_time() - started]}


def _run(blocks: list[pa.Table], workers: int, **options) -> list[dict]:
    """Have the blocks predicted; return what the workers told of each. A block that fails again and again is left."""
    ray.data.DataContext.get_current().max_errored_blocks = -1
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    told = ray.data.from_arrow(blocks).map_batches(
        Worker, fn_constructor_kwargs=options, batch_size=None, batch_format="pyarrow", concurrency=workers, num_cpus=1,
        max_task_retries=3, runtime_env={"env_vars": threads | {"KERAS_BACKEND": backend.NAME}})
    return told.take_all()


def _absolute(place: str | Path) -> str:
    """Return a path that means the same in every process; an address is left as it is."""
    return str(place) if "://" in str(place) else str(files.expanded(place).absolute())


def _left(paths: pa.Array, output: str) -> pa.Array:
    """Return the paths of which `output` has no row."""
    system, folder = fsspec.core.url_to_fs(output)
    written = system.glob(f"{folder}/*.parquet")
    if not written:
        return paths
    done = pyarrow.dataset.dataset(written, filesystem=system).to_table(columns=["image"])["image"]
    return paths.filter(pc.invert(pc.is_in(paths, value_set=done)))


def _same_choices(output: str, options: dict) -> None:
    """Refuse to mix the rows of two models, or of other choices, in one folder."""
    system, folder = fsspec.core.url_to_fs(output)
    system.makedirs(folder, exist_ok=True)
    file = f"{folder}/_choices.json"
    if not system.exists(file):
        system.pipe_file(file, json.dumps(options).encode())
    elif json.loads(system.cat_file(file)) != options:
        raise ValueError(f"{output} holds predictions made with other choices: name another folder.")
