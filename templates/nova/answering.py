{% include "shared/answering.py" %}
