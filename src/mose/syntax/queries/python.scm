(function_definition name: (identifier) @name body: (_) @body) @function
(decorated_definition
  definition: (function_definition name: (identifier) @name body: (_) @body) @head) @function
(class_definition name: (identifier) @name body: (_) @body) @class
(decorated_definition
  definition: (class_definition name: (identifier) @name body: (_) @body) @head) @class
(module (expression_statement (assignment left: (identifier) @name)) @constant)
(module (type_alias_statement left: (type (identifier) @name)) @type)
