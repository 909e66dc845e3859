"""Fuzz one parser, guided by what it executes: python fuzz_parsers.py NAME [SECONDS]. Needs: pip install atheris.

What is found is left in the working directory as crash-*, and the process ends with code 77.
"""

import sys
import tempfile
import warnings
from pathlib import Path


def main(name: str, seconds: str = "60") -> None:
    """Fuzz the parser of this name for so long."""
    import atheris

    packages = [
        "pcfdsl.readers",
        "pcfdsl.datasets",
        "pcfdsl.store",
        "pcfdsl.config",
        "pcfdsl.formula.csv_io",
        "pcfdsl.view.clouds",
        "pcfdsl.view.sources",
    ]
    packages += [f"pcfdsl.checkpoints.{name}" for name in ("files", "weights", "torch_file", "run")]
    packages += ["pickle", "zipfile"]
    with atheris.instrument_imports(include=packages):
        from targets import TARGETS

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        (corpus / "sample").write_bytes(TARGETS[name].sample)
        options = [f"-max_total_time={seconds}", "-rss_limit_mb=3000", "-timeout=10", "-max_len=4096"]
        atheris.Setup(
            [sys.argv[0], str(corpus), *options, "-print_final_stats=1"],
            lambda content: TARGETS[name].attempt(Path(folder) / "file", content),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    main(*sys.argv[1:])
