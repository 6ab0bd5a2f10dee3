# The chores of deployment: manifests, locked packages, and what is known of them.
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --custom-compile-command "make locks" \
	--python-version 3.11 --python-platform linux --upgrade

.PHONY: manifests locks sbom audit

manifests: install
	$(BIN)/python scripts/render_kubernetes.py $(ARGS)

# The images take the build of TensorFlow without GPU code, a third of the size: the other is crossed out.
locks: $(VENV)/.installed-dev
	$(LOCK) requirements-router.txt deploy/docker/redis.in -o deploy/docker/router.lock
	$(LOCK) requirements-model-server.txt deploy/docker/tensorflow-cpu.in \
		--override deploy/docker/tensorflow-crossed-out.in -o deploy/docker/model-server.lock
	$(LOCK) requirements.txt deploy/docker/redis.in deploy/docker/tensorflow-cpu.in \
		--override deploy/docker/tensorflow-crossed-out.in -o deploy/docker/single.lock

sbom: $(VENV)/.installed-dev
	deploy/supply_chain/renew.sh $(BIN)

audit: $(VENV)/.installed-dev
	@$(BIN)/python scripts/audit_locks.py
