// A filter in AssemblyScript with the SDK: names itself in a response header and logs every path with a greeting.
//
// The configuration is the greeting, as text. The SDK speaks ABI 0.2.0 and logs every callback at debug.

export * from "@solo-io/proxy-runtime/proxy"; // what the host calls
import {
  Context, FilterHeadersStatusValues, LogLevelValues, RootContext, log, registerRootContext, stream_context,
} from "@solo-io/proxy-runtime";

// One for each VM; it keeps the configuration.
class Root extends RootContext {
  createContext(id: u32): Context {
    return new Exchange(id, this);
  }
}

// One for each request and its response.
class Exchange extends Context {
  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const path = stream_context.headers.request.get(":path");
    log(LogLevelValues.info, this.root_context.getConfiguration() + ", " + path);
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.replace("x-guest", "assemblyscript");
    return FilterHeadersStatusValues.Continue;
  }
}

// The name is the filter's root_id.
registerRootContext((id: u32) => { return new Root(id); }, "guest");
