#!/usr/bin/env bash
# For each image's lock: install it alone, and write down what is in it (SBOM) and under which licences.
# Usage: renew.sh BIN, where BIN holds python, uv, cyclonedx-py and pip-licenses.
set -euo pipefail
bin=$(realpath "$1")
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for image in router model-server single; do
	echo "$image: installing what its lock says"
	"$bin/uv" venv --quiet --clear --python "$bin/python" "$scratch/venv"
	"$bin/uv" pip install --quiet --python "$scratch/venv/bin/python" \
		--no-deps --require-hashes -r "../docker/$image.lock"
	"$bin/cyclonedx-py" environment --output-reproducible --output-format JSON \
		--output-file "$image.cdx.json" "$scratch/venv/bin/python"
done
# The last image holds every package of the other two.
"$bin/pip-licenses" --python "$scratch/venv/bin/python" --format markdown --order name --with-urls --with-system \
	--output-file licences.md
