/*
 * The bit fields of ngx_http_request_t, as the C compiler sees them. From nginx 1.31.5 on a 16-bit
 * field stands before them, and bindgen's own accessors miscount (build.rs makes Rust functions of
 * these). Those for a field of several bits go from bit to bit, so a variable is set here as well.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#define WEBSOCKET_GUARD_BIT(name)                                            \
    static inline ngx_uint_t                                                 \
    websocket_guard_##name(const ngx_http_request_t *r)                      \
    {                                                                        \
        return r->name;                                                      \
    }

WEBSOCKET_GUARD_BIT(internal)
WEBSOCKET_GUARD_BIT(filter_finalize)
WEBSOCKET_GUARD_BIT(waited)
WEBSOCKET_GUARD_BIT(header_only)
WEBSOCKET_GUARD_BIT(valid_location)
WEBSOCKET_GUARD_BIT(lingering_close)
WEBSOCKET_GUARD_BIT(post_action)
WEBSOCKET_GUARD_BIT(request_body_no_buffering)
WEBSOCKET_GUARD_BIT(limit_req_status)
WEBSOCKET_GUARD_BIT(limit_conn_status)
WEBSOCKET_GUARD_BIT(header_sent)

/* Whether the header of the request was not read to its end (HTTP/1). */
static inline ngx_uint_t
websocket_guard_reading(const ngx_http_request_t *r)
{
    return r->http_state == NGX_HTTP_READING_REQUEST_STATE;
}

static inline void
websocket_guard_lift_limit_rate(ngx_http_request_t *r)
{
    r->limit_rate = 0;
    r->limit_rate_set = 1;
}

static inline void
websocket_guard_set_variable(ngx_http_variable_value_t *v, const ngx_str_t *value)
{
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->data = value->data;
}
