"""No module: `annotate.annotate` is a function of `annotate/__init__.py`.

Python looks here for `from annotate import annotate` where that file is missing, and then this says why.
"""

from annotate.installation import problem

raise ImportError(problem() or "annotate.annotate is a function, not a module: from annotate import annotate")
