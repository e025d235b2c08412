# Has the broker that still serves write down its queues, and what is bound to them, for one of an older series that takes its place
# (start.sh). Not its streams: who reads one makes one of its own. One that cannot be asked must not keep anybody from going back.
set -eu
rm -f /var/lib/rabbitmq/stores/queues.json
timeout 20 /usr/lib/rabbitmq/bin/rabbitmqctl --quiet eval '
    #{<<"queues">> := All, <<"exchanges">> := Exchanges, <<"bindings">> := Bindings} =
        rabbit_json:decode(rabbit_json:encode(rabbit_definitions:all_definitions())),
    Queues = [Queue || #{<<"type">> := Type} = Queue <- All, Type =/= <<"stream">>],
    Names = [Name || #{<<"name">> := Name} <- Queues],
    Bound = [Binding || #{<<"destination">> := To, <<"destination_type">> := Type} = Binding <- Bindings,
        Type =/= <<"queue">> orelse lists:member(To, Names)],
    File = "/var/lib/rabbitmq/stores/queues.json",
    Text = rabbit_json:encode(#{queues => Queues, exchanges => Exchanges, bindings => Bound}),
    ok = file:write_file(File ++ ".new", Text),
    ok = file:rename(File ++ ".new", File),
    io_lib:format("~b queues", [length(Queues)]).' || echo "the broker does not answer: its queues are not known"
