"""Where things run: the only folder that imports Ray.

Ray reads these when it is imported. A cluster started here asks for a token; one that is joined through RAY_ADDRESS has
a mode of its own. And to Ray, as on Windows and macOS, this machine's own address is loopback: a cluster started here
listens there alone, and 127.0.0.1 in RAY_ADDRESS stays what it is.
"""

import os

if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
