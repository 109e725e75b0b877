(class_declaration "class" name: (_) @name [(class_body) (enum_class_body)]? @body) @class
(class_declaration "interface" name: (_) @name (class_body)? @body) @interface
(class_declaration (modifiers (class_modifier "enum")) name: (_) @name (enum_class_body) @body) @enum
(object_declaration name: (_) @name (class_body)? @body) @object
(function_declaration name: (_) @name (function_body)? @body) @function
(function_declaration . (modifiers)? . "fun" . (user_type) @scope . "." name: (_) @name (function_body)? @body) @function
(source_file (property_declaration (variable_declaration (identifier) @name)) @constant)
(secondary_constructor "constructor" @name (block)? @body) @method
(type_alias type: (_) @name) @type
