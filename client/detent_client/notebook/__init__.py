"""What a person asks a Detent server in Python: families, imports, studies, rollouts; over HTTP or in process.

What does not live here: anything that an application needs to serve prompts. Start reading at ``detent.py``.
"""

from detent_client.notebook.backend import Refused
from detent_client.notebook.detent import Detent, Family
from detent_client.notebook.records import Record, Table
from detent_client.notebook.studies import Study

__all__ = ["Detent", "Family", "Record", "Refused", "Study", "Table"]
