(function name: (_) @name) @function
(function (infix operator: (_) @name)) @function
(bind name: (_) @name) @function
(signature name: (_) @name) @function
(data_type name: (_) @name) @type
(newtype name: (_) @name) @type
(type_synonym name: (_) @name) @type
(class name: (_) @name declarations: (_)? @body) @class
(instance name: (_) @name declarations: (_)? @body) @impl
