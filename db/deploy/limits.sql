-- Settings of the deploy's transaction. No timeout of the session may end the deploy. The death of the deployer must:
-- otherwise its lock would be held until the current statement ends. Servers before 16 can't detect that on every
-- platform.
do $do$
begin
    perform set_config(name, '0', true)
    from pg_catalog.pg_settings
    where name in (
        'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout'
    );
    perform set_config('client_min_messages', 'warning', true);
    begin
        perform set_config('client_connection_check_interval', '1s', true);
    exception
        when invalid_parameter_value then null;
    end;
end;
$do$;
