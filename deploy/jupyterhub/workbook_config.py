"""What any JupyterHub sets for the workbook; `docs/hub.md` says where it goes.

The limits come from measured memory: `docs/hub.md` has the table and the command.
"""

import os

MEMORY_LIMIT = "3G"  # two chapters open at once; the hungriest needs half of it
CPU_LIMIT = 2  # what the minutes that a chapter promises were measured on
IDLE_KERNEL_SECONDS = 1800  # a pause is shorter; a chapter is run again in a minute

# A folder that learners can read and only an administrator can write. `torch_home` in
# it holds ImageNet weights, if any. The workbook's own travel inside its package.
SHARED = os.environ.get("WORKBOOK_SHARED", "/srv/workbook")

c = get_config()  # noqa: F821 (JupyterHub defines it)
c.Spawner.mem_limit = MEMORY_LIMIT
c.Spawner.cpu_limit = CPU_LIMIT
c.Spawner.default_url = "/lab"
c.Spawner.environment = {
    "TORCH_HOME": f"{SHARED}/torch_home",
    # Without it torch starts a thread for every core of the machine, not of the limit,
    # and they wait for each other.
    "OMP_NUM_THREADS": str(CPU_LIMIT),
    # Where a room starts at once, waiting threads must not burn the cores.
    "OMP_WAIT_POLICY": "passive",
    # Otherwise each thread keeps a heap, and a kernel holds a tenth more.
    "MALLOC_ARENA_MAX": "2",
}
c.Spawner.args = [
    f"--MappingKernelManager.cull_idle_timeout={IDLE_KERNEL_SECONDS}",
    "--MappingKernelManager.cull_interval=120",
    # An open tab keeps its words and pictures, and gives the memory back.
    "--MappingKernelManager.cull_connected=True",
]
# A room that starts in the same minute is slow, not broken.
c.Spawner.start_timeout = 180
c.Spawner.http_timeout = 180
