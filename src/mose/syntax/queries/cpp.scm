(function_definition declarator: (_) @declarator body: (_)? @body) @function
(template_declaration (function_definition declarator: (_) @declarator body: (_)? @body)) @function
(translation_unit (declaration declarator: [(function_declarator) @declarator
  (pointer_declarator declarator: (function_declarator)) @declarator
  (reference_declarator (function_declarator)) @declarator]) @function)
(namespace_definition body: (declaration_list (declaration declarator: (function_declarator) @declarator) @function))
(class_specifier name: (_) @name body: (_) @body) @class
(struct_specifier name: (_) @name body: (_) @body) @struct
(union_specifier name: (_) @name body: (_) @body) @struct
(enum_specifier name: (_) @name body: (_) @body) @enum
(template_declaration (class_specifier name: (_) @name body: (_) @body)) @class
(template_declaration (struct_specifier name: (_) @name body: (_) @body)) @struct
(namespace_definition name: (_) @name body: (_) @body) @module
(concept_definition name: (_) @name) @type
(alias_declaration name: (_) @name) @type
(type_definition type: (struct_specifier body: (_) @body) declarator: (type_identifier) @name) @struct
(type_definition type: (enum_specifier body: (_) @body) declarator: (type_identifier) @name) @enum
(type_definition declarator: (_) @declarator) @type
(field_declaration declarator: (function_declarator) @declarator) @method
(field_declaration_list (declaration declarator: (function_declarator) @declarator) @method)
(preproc_def name: (_) @name) @macro
(preproc_function_def name: (_) @name) @macro
(translation_unit (declaration declarator: (init_declarator declarator: (_) @declarator)) @constant)
; "class EXPORT_MACRO Name { ... }" reads like a function without parameters.
(function_definition type: (class_specifier !body) declarator: (identifier) @name body: (_) @body) @class
(function_definition type: (struct_specifier !body) declarator: (identifier) @name body: (_) @body) @struct
(template_declaration
  (function_definition type: (class_specifier !body) declarator: (identifier) @name body: (_) @body)) @class
(template_declaration
  (function_definition type: (struct_specifier !body) declarator: (identifier) @name body: (_) @body)) @struct
