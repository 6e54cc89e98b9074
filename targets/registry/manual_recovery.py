"""The recovery that seed 002 publishes for its readers, with its placeholders as arguments.

    manual_recovery.py REG KNOWN_GOOD CORRUPTED CLI_SESSION_ID CWD ORIGIN_CWD TITLE CREATED_AT LAST_ACTIVITY_AT

KNOWN_GOOD and CORRUPTED are ids, ``local_…``. From ``j = …`` on the lines are the seed's. What it does not set comes
from the other session: the pin, completedTurns, the allowed reasons.
"""

import json
import sys
from pathlib import Path

REG = Path(sys.argv[1])
TEMPLATE = REG / f"{sys.argv[2]}.json"
TARGET = REG / f"{sys.argv[3]}.json"

# fmt: off
j = json.loads(TEMPLATE.read_text(encoding="utf-8"))
j["sessionId"]      = sys.argv[3]
j["cliSessionId"]   = sys.argv[4]
j["cwd"]            = sys.argv[5]
j["originCwd"]      = sys.argv[6]
j["worktreePath"]   = sys.argv[5]
j["worktreeName"]   = Path(sys.argv[5]).name
j["branch"]         = "claude/" + Path(sys.argv[5]).name
j["sourceBranch"]   = "main"
j["title"]          = sys.argv[7]
j["titleSource"]    = "user"
j["isArchived"]     = False
j["createdAt"]      = int(sys.argv[8])
j["lastActivityAt"] = int(sys.argv[9])
TARGET.rename(TARGET.with_suffix(".json.corrupted-bak"))  # keep backup
TARGET.write_text(json.dumps(j, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
# then restart Claude Desktop (in-memory cache only refreshes at startup)
