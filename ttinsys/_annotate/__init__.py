"""Our own `annotate`, under a name that no other distribution can take.

The package index has another distribution called `annotate`. Installed after this one it replaces
`annotate/__init__.py`, and uninstalled it removes that file; beside an editable install it comes first on the path. A
script called `annotate.py` hides the package too. The analysis therefore never imports the name `annotate`: the modules
that it needs are found by this package's path, which is the folder beside `ttinsys`. They import each other relatively,
so that none of them looks for the name either.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2] / "annotate")]
