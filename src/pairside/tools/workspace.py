"""Owns the tool that names the folders of the workspace."""

from __future__ import annotations

import os
from typing import Any

from pairside.text import file_uri
from pairside.tools import Call, Toolbox

toolbox = Toolbox()


@toolbox.tool("getWorkspaceFolders")
def get_workspace_folders(call: Call) -> dict[str, Any]:
    """The folders that are open in the editor."""
    folders = call.bridge.folders.value
    return {
        "success": True,
        "folders": [
            {"name": os.path.basename(folder) or folder, "uri": file_uri(folder), "path": folder} for folder in folders
        ],
        "rootPath": folders[0] if folders else None,
    }
