"""``python -m rhapsode`` is ``rhapsode``."""

import sys

from rhapsode.cli.main import main

sys.exit(main())
