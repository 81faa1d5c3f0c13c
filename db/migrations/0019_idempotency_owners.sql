-- A user's idempotency key was stored as a tenant's key of the form user:<user's id>:<SHA-256 of the key>, which a
-- tenant can send as well. Whose key it is has a column now.
alter table app.idempotency_store
add column owner_id uuid not null default '00000000-0000-0000-0000-000000000000';
comment on column app.idempotency_store.owner_id is
'The user whose key it is; the nil UUID: it is the tenant''s.';
comment on column app.idempotency_store.idempotency_key is
'A tenant''s key as it is, a user''s as its SHA-256 in hexadecimal digits.';

alter table app.idempotency_store no force row level security;
update app.idempotency_store as stored
set
    owner_id = split_part(stored.idempotency_key, ':', 2)::uuid,
    idempotency_key = split_part(stored.idempotency_key, ':', 3)
where stored.idempotency_key ~ '^user:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}:[0-9a-f]{64}$';
alter table app.idempotency_store force row level security;

alter table app.idempotency_store drop constraint idempotency_store_pkey;
alter table app.idempotency_store
add constraint idempotency_store_pkey primary key (tenant_id, owner_id, idempotency_key);

-- They have another parameter now, and app.stored_idempotency_key is the third.
drop function if exists app.claim_idempotency_key(uuid, text, bytea);
drop function if exists app.remember_reply(uuid, text, bytea, integer, api.reply);
drop function if exists app.user_idempotency_key(uuid, text);
