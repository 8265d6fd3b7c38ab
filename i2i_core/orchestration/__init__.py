"""Where things run: the only folder that imports Ray.

Ray reads its authentication mode when it is imported. A cluster started here asks for a token (Ray keeps
one in ~/.ray/auth_token); one that is joined through RAY_ADDRESS has a mode of its own.
"""

import os

if "RAY_ADDRESS" not in os.environ:
    os.environ.setdefault("RAY_AUTH_MODE", "token")
