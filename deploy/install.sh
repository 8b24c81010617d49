#!/bin/sh
# Install AgentTrace with every backend, from the tree that this script is in, into a virtual environment of its own.
set -eu
into=${1:?"usage: deploy/install.sh FOLDER"}
cd "$(dirname "$0")/.."

python3 -m venv "$into"
"$into/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check '.[all]'
mkdir -p "$into/deploy"
cp deploy/first_start.py deploy/make_bucket.py deploy/healthy.py "$into/deploy"
"$into/bin/agenttrace" --version
