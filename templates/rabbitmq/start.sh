# Starts the node. Each series of RabbitMQ has a store of its own: a newer one begins with a copy of what the last one had, and the older
# one's stays as it was, since no series reads a newer one's. On the way back a store begins with the newer one's queues, and without
# messages: what lies in it has been delivered. (queues.sh wrote down the queues.)
set -eu
umask 027
stores=/var/lib/rabbitmq/stores
version=$(ls /usr/lib/rabbitmq/lib | sed -n 's/^rabbitmq_server-//p')
own=$(echo "$version" | cut -d. -f1,2)
last=$(cat "$stores/served" 2>/dev/null || true)
mkdir -p "$stores" /tmp/definitions
cp /etc/rabbitmq/definitions.json /tmp/definitions/1-ours.json

newer() { [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]; }

if [ "$last" != "$own" ]; then
    rm -rf "$stores/$own" "$stores/$own.new"
    if [ -n "$last" ] && newer "$own" "$last" && [ "{{ var.rabbitmq_carry_over }}" = true ]; then
        echo "RabbitMQ $own begins with what $last had"
        cp -a "$stores/$last" "$stores/$own.new"
        mv "$stores/$own.new" "$stores/$own"
    elif [ -n "$last" ]; then
        echo "RabbitMQ $own begins with a store without messages: $last served before"
        # Before anybody can connect: a call to a queue that its server has not made again yet is lost, and its caller waits for a minute.
        [ ! -f "$stores/queues.json" ] || cp "$stores/queues.json" /tmp/definitions/2-queues.json
    fi
    # Only who has served is the last to have served: until then the other one's store stays what counts.
    (
        /mastic-init check --wait 120 "amqp:{{ host.address }}:{{ port.rabbitmq }}" >/dev/null
        echo "$own" >"$stores/served.new"
        mv "$stores/served.new" "$stores/served"
        rm -f "$stores/queues.json"
    ) &
fi
export RABBITMQ_MNESIA_BASE="$stores/$own"
exec /usr/lib/rabbitmq/bin/rabbitmq-server
