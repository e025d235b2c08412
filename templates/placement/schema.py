{% include "shared/schema.py" %}
