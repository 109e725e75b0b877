(class name: [(constant) @name (scope_resolution) @name] body: (_)? @body) @class
(module name: [(constant) @name (scope_resolution) @name] body: (_)? @body) @module
(method name: (_) @name body: (_)? @body) @method
(singleton_method name: (_) @name body: (_)? @body) @method
(program (assignment left: (constant) @name) @constant)
(body_statement (assignment left: (constant) @name) @constant)
