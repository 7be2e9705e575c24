"""Looking inside: demonstrations, networks, episodes."""

from mp_lib.system.extras import require

require("lab")
