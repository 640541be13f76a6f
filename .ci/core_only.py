"""Run in an environment that has snnax and its core dependencies and nothing else, outside the checkout."""

import importlib
import importlib.util
import pkgutil

import snnax
from snnax.errors import MissingDependencyError

OPTIONAL = ("torch", "snntorch", "norse", "nirtorch", "matplotlib", "sklearn", "pytest")
# Parts that need an extra, and say so when used.
NEED_AN_EXTRA = (
    "snnax.interop.torch",
    "snnax.interop.frameworks.",
    "snnax.interop.snntorch",
    "snnax.interop.norse",
    "snnax.spikeplot",
    "snnax.__main__",
)

found = [name for name in OPTIONAL if importlib.util.find_spec(name)]
if found:
    raise SystemExit(f"not a core-only environment: {found} can be imported")

imported = []
for module in pkgutil.walk_packages(snnax.__path__, "snnax."):
    if not module.name.startswith(NEED_AN_EXTRA):
        importlib.import_module(module.name)
        imported.append(module.name)

for name in snnax.__all__:
    if name != "spikeplot":
        getattr(snnax, name)

try:
    snnax.interop.from_snntorch(None, None)
except MissingDependencyError as error:
    if "torch" not in str(error):
        raise
else:
    raise SystemExit("from_snntorch did not say that torch is missing")

print(f"{len(imported)} modules and {len(snnax.__all__)} names work with the core dependencies only")
