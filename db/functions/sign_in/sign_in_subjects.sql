-- What an attempt to sign in is counted for: the account from the network, the account, the network.
--   email     as sent, in any case
--   network   the client's address, or the network it counts as
-- As JSON, so that no two subjects are the same text, whatever the address says.
create or replace function app.sign_in_subjects(email text, network text)
returns text[]
language sql
immutable
parallel safe
return array[
    jsonb_build_array('account from network', lower(sign_in_subjects.email collate "C"), sign_in_subjects.network),
    jsonb_build_array('account', lower(sign_in_subjects.email collate "C")),
    jsonb_build_array('network', sign_in_subjects.network)
]::text[];

comment on function app.sign_in_subjects(text, text) is
$$What an attempt to sign in is counted for: the account from the network, the account, the network.$$;
revoke all on function app.sign_in_subjects(text, text) from public;
grant execute on function app.sign_in_subjects(text, text) to cardbase_authenticator;
