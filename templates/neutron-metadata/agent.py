{% include "shared/neutron-agent.py" %}
