-- Functions and columns are called what they are elsewhere. No version with the old names was released, so that no
-- gateway in use calls them: the old functions go at once, and the files that come after make the new ones.

drop function if exists app.act_as(uuid, uuid);
drop function if exists app.act_for(uuid, uuid);
drop function if exists app.given_fields(jsonb, text[]);

alter table app.integrations rename column sealed_settings to encrypted_settings;
alter table app.integrations
rename constraint integrations_sealed_settings_check to integrations_encrypted_settings_check;
comment on column app.integrations.encrypted_settings is
'Settings and secrets, encrypted with a key that the database does not have. Only a worker''s function returns them.';

-- A parameter can't be renamed in place.
drop function if exists api.create_integration(uuid, uuid, text, bytea, text[]);
drop function if exists api.update_integration(uuid, uuid, uuid, text, bytea, text[]);
drop function if exists app.get_sealed_settings(uuid, uuid, uuid);
