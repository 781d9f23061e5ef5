#!/usr/bin/env bash
# The workbook on The Littlest JupyterHub, run there as root. See docs/hub.md.
#   sudo bash deploy/jupyterhub/install_tljh.sh https://github.com/NAME/REPOSITORY [BRANCH]
set -euo pipefail
address="${1:?name the address of the repository}"
branch="${2:-main}"
user_env=/opt/tljh/user
place=/opt/workbook

[ -x "$user_env/bin/pip" ] || { echo "The Littlest JupyterHub is not installed here." >&2; exit 1; }
[ -d "$place" ] || git clone --branch "$branch" "$address" "$place"
# Torch for a processor alone: a fifth of the size.
"$user_env/bin/pip" install --constraint "$place/constraints.txt" \
  torch torchvision --index-url https://download.pytorch.org/whl/cpu
"$user_env/bin/pip" install --constraint "$place/constraints.txt" "$place" nbgitpuller

# Readable for all, writable for root: ImageNet weights can be put there.
install -d -m 755 /srv/workbook/torch_home
install -m 644 "$place/deploy/jupyterhub/workbook_config.py" \
  /opt/tljh/config/jupyterhub_config.d/workbook.py
tljh-config set user_environment.default_app jupyterlab
tljh-config reload hub
