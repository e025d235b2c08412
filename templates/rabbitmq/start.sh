# Starts the node. Each series of RabbitMQ has a store of its own: a newer one begins with a copy of what the last one had, and the older
# one's stays as it was, since no series reads a newer one's. On the way back a store begins empty: what lies in it has been delivered.
set -eu
stores=/var/lib/rabbitmq/stores
version=$(ls /usr/lib/rabbitmq/lib | sed -n 's/^rabbitmq_server-//p')
own=$(echo "$version" | cut -d. -f1,2)
last=$(cat "$stores/served" 2>/dev/null || true)
mkdir -p "$stores"

newer() { [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]; }

if [ "$last" != "$own" ]; then
    rm -rf "$stores/$own" "$stores/$own.new"
    if [ -n "$last" ] && newer "$own" "$last" && [ "{{ var.rabbitmq_carry_over }}" = true ]; then
        echo "RabbitMQ $own begins with what $last had"
        cp -a "$stores/$last" "$stores/$own.new"
        mv "$stores/$own.new" "$stores/$own"
    elif [ -n "$last" ]; then
        echo "RabbitMQ $own begins with an empty store: $last served before"
    fi
    # Only who has served is the last to have served: until then the other one's store stays what counts.
    (
        /mastic-init check --wait 120 "amqp:{{ host.address }}:{{ port.rabbitmq }}" >/dev/null
        echo "$own" >"$stores/served.new"
        mv "$stores/served.new" "$stores/served"
    ) &
fi
export RABBITMQ_MNESIA_BASE="$stores/$own"
exec /usr/lib/rabbitmq/bin/rabbitmq-server
