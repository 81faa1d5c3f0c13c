"""/rpc: any function of schema api, by PostgREST's conventions."""
