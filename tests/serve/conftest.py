"""The tests beside this file share `talking`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
