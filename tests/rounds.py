"""How often tests of random changes repeat: set MOSE_TEST_ROUNDS to try so many times harder."""

import os

ROUNDS = int(os.environ.get("MOSE_TEST_ROUNDS", "1"))
