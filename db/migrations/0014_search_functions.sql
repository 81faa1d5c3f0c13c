-- A search looks at names by functions of their own, and hands its words over as a tsquery: what the migration before
-- calls app.find_matches is in find_resource_matches.sql.
drop function if exists app.find_matches(uuid, uuid, text, text, integer);
drop function if exists app.find_memory_matches(uuid, uuid, text, integer);
drop function if exists app.find_message_matches(uuid, uuid, text, integer);
drop function if exists app.find_task_matches(uuid, uuid, text, integer);
drop function if exists app.find_card_matches(uuid, uuid, text, integer);
