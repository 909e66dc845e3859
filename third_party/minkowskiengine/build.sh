#!/usr/bin/env bash
# Build the CPU package of MinkowskiEngine 0.5.4 from its PyPI sdist and install it beside the torch that is there.
#
#   PYTHON=.venv/bin/python bash third_party/minkowskiengine/build.sh [DIRECTORY_FOR_THE_WHEEL]
#
# Needs Python <= 3.11, torch, setuptools, ninja, a C++20 compiler and OpenBLAS headers (Debian: libopenblas-dev).
set -euo pipefail

version=0.5.4
sha256=b1879c00d0b0b1d30ba622cce239886a7e3c78ee9da1064cdfe2f64c2ab15f94
python=$(command -v "${PYTHON:-python3}")
wheels=$(realpath -m "${1:-.}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The sdist's setup.py runs `pip uninstall MinkowskiEngine`, even when only asked for its metadata: give it a pip that does nothing.
mkdir "$work/bin"
printf '#!/bin/sh\nexit 0\n' > "$work/bin/pip"
chmod +x "$work/bin/pip"
export PATH="$work/bin:$PATH"

# Without the standard library's distutils, numpy.distutils (imported for the metadata) breaks under recent setuptools.
# The checksum is asked of pip itself, which runs setup.py.
echo "MinkowskiEngine==$version --hash=sha256:$sha256" > "$work/requirements.txt"
SETUPTOOLS_USE_DISTUTILS=stdlib "$python" -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation \
    --dest "$work" --require-hashes --requirement "$work/requirements.txt"
tar -xzf "$work/MinkowskiEngine-$version.tar.gz" -C "$work"
cd "$work/MinkowskiEngine-$version"

# Sequence left `collections` in Python 3.10.
sed -i 's/^from collections import Sequence, namedtuple$/from collections import namedtuple\nfrom collections.abc import Sequence/
        s/^from collections import Sequence$/from collections.abc import Sequence/' \
    MinkowskiEngine/Minkowski{CoordinateManager,KernelGenerator,TensorField,Common}.py MinkowskiEngine/utils/quantization.py

# CFLAGS replaces Python's own flags, so -O3 has to be said; -g0 makes the wheel 0.5 MB instead of 28 MB.
CFLAGS="-O3 -g0" MAX_JOBS="${MAX_JOBS:-1}" "$python" setup.py bdist_wheel --cpu_only --blas=openblas --dist-dir "$work/dist"
mkdir -p "$wheels"
cp "$work"/dist/*.whl "$wheels"
"$python" -m pip install --quiet --no-deps --force-reinstall "$work"/dist/*.whl
cd "$wheels"
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$python" -c "import MinkowskiEngine; print('MinkowskiEngine', MinkowskiEngine.__version__, 'installed')"
