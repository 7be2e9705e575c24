"""A page of controls over what a policy sees and where it would go."""

from mp_lib.system.extras import require

require("lab")
require("view")
