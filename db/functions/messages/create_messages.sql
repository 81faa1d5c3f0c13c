-- Adds messages to a conversation of the caller's, in the order sent: all of them or none.
--   tenant_id, user_id       the caller's tenant and user
--   conversation_id          the conversation
--   messages                 1 to 1,000 of {"role", "content", "metadata"?}; or else:
--   role, content, metadata  a single message
--   idempotency_key          the same key and request again return the first reply, and do nothing
--   idempotency_ttl_hours    how long the key is remembered
-- Returns 201 with the messages as a list, or with the single message.
-- Errors: PT401 unauthenticated, the caller is not a user; PT404 conversation_not_found; PT422 validation_error;
-- PT422 idempotency_key_reused; PT409 idempotency_in_progress (after 2 s).
--
-- The conversation's row is locked first, so calls for one conversation run one after the other, each with its
-- messages together. Keys belong to the user.
create or replace function api.create_messages(
    tenant_id uuid,
    user_id uuid,
    conversation_id uuid,
    messages jsonb default null,
    role text default null,
    content text default null,
    metadata jsonb default null,
    idempotency_key text default null,
    idempotency_ttl_hours integer default 24
)
returns api.reply
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    _is_single constant boolean := create_messages.messages is null;
    _messages constant jsonb := case
        when _is_single
            then jsonb_build_array(
                jsonb_build_object(
                    'role', create_messages.role,
                    'content', create_messages.content,
                    'metadata', create_messages.metadata
                )
            )
        else create_messages.messages
    end;
    _fingerprint bytea;
    _position integer;
    _documents jsonb;
    _reply api.reply;
begin
    perform app.set_caller(create_messages.tenant_id, create_messages.user_id);
    perform app.check_json('metadata', create_messages.metadata);
    perform app.check_json('messages', create_messages.messages, 64000000);

    if create_messages.idempotency_key is not null then
        _fingerprint := app.request_fingerprint(
            'create_messages', jsonb_build_array(create_messages.conversation_id, _is_single, _messages)
        );
        _reply := app.claim_idempotency_key(
            create_messages.tenant_id, create_messages.idempotency_key, _fingerprint, create_messages.user_id
        );
        if _reply.status is not null then
            return _reply;
        end if;
    end if;

    if not _is_single
        and coalesce(create_messages.role, create_messages.content, create_messages.metadata::text) is not null
    then
        raise exception using
            errcode = 'PT422',
            message = 'messages is not valid',
            detail = 'Expected either messages, or the role and content of a single one.',
            hint = 'Send one of the two. Nothing was stored.',
            column = 'messages',
            constraint = 'validation_error';
    end if;
    perform app.check_messages(_messages, case when _is_single then '' else 'messages' end);

    update app.conversations as conversation
    set
        message_count = conversation.message_count + jsonb_array_length(_messages),
        last_message_at = clock_timestamp(),
        updated_at = clock_timestamp()
    where
        conversation.tenant_id = create_messages.tenant_id
        and conversation.user_id = create_messages.user_id
        and conversation.id = create_messages.conversation_id
        and conversation.deleted_at is null
    returning conversation.message_count - jsonb_array_length(_messages) into _position;

    if not found then
        perform app.resource_not_found('conversations', create_messages.conversation_id, 'conversation_id');
    end if;

    with created as (
        insert into app.messages as message (
            tenant_id,
            user_id,
            conversation_id,
            position,
            role,
            content,
            metadata
        )
        select
            create_messages.tenant_id,
            create_messages.user_id,
            create_messages.conversation_id,
            _position + entry.position,
            entry.message ->> 'role',
            entry.message ->> 'content',
            coalesce(nullif(entry.message -> 'metadata', 'null'), '{}')
        from jsonb_array_elements(_messages) with ordinality as entry (message, position)
        order by entry.position
        returning message
    )

    select jsonb_agg(app.message_document(created.message) order by (created.message).position)
    into _documents
    from created;

    _reply := app.success(201, case when _is_single then _documents -> 0 else _documents end);

    if create_messages.idempotency_key is not null then
        _reply := app.remember_reply(
            create_messages.tenant_id,
            create_messages.idempotency_key,
            _fingerprint,
            create_messages.idempotency_ttl_hours,
            _reply,
            create_messages.user_id
        );
    end if;

    return _reply;
end;
$$;

comment on function api.create_messages(uuid, uuid, uuid, jsonb, text, text, jsonb, text, integer) is
$$Adds messages to a conversation, in the order sent: all of them or none.

Takes either messages, 1 to 1,000 of them, and returns them as a list; or role, content and metadata of a single one,
and returns it. With an idempotency key the same request again returns the first reply, and does nothing.

PT401: the caller is not a user. PT404: the caller has no such conversation, or it was deleted. PT422: a message is not
valid, or the key was used for another request. PT409: a request with this key is still running after 2 seconds.$$;
alter function api.create_messages(uuid, uuid, uuid, jsonb, text, text, jsonb, text, integer) owner to cardbase_api;
revoke all on function api.create_messages(uuid, uuid, uuid, jsonb, text, text, jsonb, text, integer) from public;
grant execute on function api.create_messages(uuid, uuid, uuid, jsonb, text, text, jsonb, text, integer)
to cardbase_gateway, cardbase_service;
