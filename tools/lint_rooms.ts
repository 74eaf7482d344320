/**
 * The lint plugin that holds the rooms and habits of STYLE.md which `deno lint` does not know.
 *
 * @module
 */

import { importProblem, PORTABLE_ROOMS, PROGRAMS, roomOf } from "./rooms.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** The file being linted, from the project's root. */
function fileOf(context: Deno.lint.RuleContext): string {
  const { filename } = context;
  return filename.startsWith(ROOT) ? filename.slice(ROOT.length) : filename.replace(/^\.?\//, "");
}

/** Rules of imports and exports. */
const importDirection: Deno.lint.Rule = {
  create(context) {
    const file = fileOf(context);
    function check(
      node: Deno.lint.Node,
      specifier: string,
      kind: { readonly dynamic?: boolean; readonly typeOnly?: boolean } = {},
    ): void {
      const message = importProblem({ file, specifier, ...kind });
      if (message !== null) context.report({ node, message });
    }
    return {
      ImportDeclaration(node) {
        // `import { type A, type B }` still loads the module, so only `import type` counts.
        check(node, node.source.value, { typeOnly: node.importKind === "type" });
      },
      ExportNamedDeclaration(node) {
        if (node.source) check(node, node.source.value, { typeOnly: node.exportKind === "type" });
      },
      ImportExpression(node) {
        const { source } = node;
        if (source.type === "Literal" && typeof source.value === "string") {
          check(node, source.value, { dynamic: true });
        }
      },
      TSImportType(node) {
        const { argument } = node;
        if (argument.type === "TSLiteralType" && argument.literal.type === "Literal") {
          check(node, String(argument.literal.value), { typeOnly: true });
        }
      },
    };
  },
};

const noExportStar: Deno.lint.Rule = {
  create(context) {
    return {
      ExportAllDeclaration(node) {
        context.report({ node, message: "Name each export: `export *` hides what is public" });
      },
    };
  },
};

const noDefaultExport: Deno.lint.Rule = {
  create(context) {
    return {
      ExportDefaultDeclaration(node) {
        context.report({ node, message: "Give the export a name" });
      },
    };
  },
};

/** Time: one file of the library touches the clock. */
const clock: Deno.lint.Rule = {
  create(context) {
    const file = fileOf(context);
    if (roomOf(file) === null || file === "src/clock.ts") return {};
    const message = "Only src/clock.ts touches timers and the wall clock: use what it exports";
    return {
      Identifier(node) {
        if (["setTimeout", "setInterval"].includes(node.name) && !isMemberName(node)) {
          context.report({ node, message });
        }
      },
      MemberExpression(node) {
        const { object, property } = node;
        if (property.type !== "Identifier") return;
        const isNow = object.type === "Identifier" && object.name === "Date" &&
          property.name === "now";
        if (isNow || /^set(Timeout|Interval)$/.test(property.name)) {
          context.report({ node, message });
        }
      },
      ImportDeclaration(node) {
        if (/^(node:)?timers/.test(node.source.value)) context.report({ node, message });
      },
    };
  },
};

/** Errors: a class that a caller can tell apart. */
const noBareError: Deno.lint.Rule = {
  create(context) {
    if (roomOf(fileOf(context)) === null) return {};
    function check(node: Deno.lint.NewExpression | Deno.lint.CallExpression): void {
      if (node.callee.type !== "Identifier" || node.callee.name !== "Error") return;
      // `new Error("…").stack` is the way to learn who called.
      if (node.parent.type === "MemberExpression") return;
      context.report({
        node,
        message: "Use TypeError, RangeError or a class of src/errors.ts instead of a bare Error",
      });
    }
    return { NewExpression: check, CallExpression: check };
  },
};

/** What also runs on Node.js uses nothing that is Deno's own. */
const portable: Deno.lint.Rule = {
  create(context) {
    const room = roomOf(fileOf(context));
    if (room === null || !PORTABLE_ROOMS.includes(room)) return {};
    return {
      Identifier(node) {
        if (!["Deno", "Temporal"].includes(node.name) || isMemberName(node)) return;
        context.report({
          node,
          message: `Producers run on Node.js too: ${node.name} is not there, use a node: module`,
        });
      },
      "MemberExpression[property.name='withResolvers']"(node) {
        context.report({
          node,
          message: "Producers run on Node.js 20 too: Promise.withResolvers is not there",
        });
      },
    };
  },
};

/** The console belongs to the program that uses the library. */
const noConsole: Deno.lint.Rule = {
  create(context) {
    const file = fileOf(context);
    if (roomOf(file) === null || PROGRAMS.includes(file)) return {};
    return {
      "MemberExpression[object.name='console']"(node: Deno.lint.MemberExpression) {
        context.report({ node, message: "The library writes by LogTape, not to the console" });
      },
    };
  },
};

/** A query is built of parameters; text that becomes SQL is how injections are made. */
const noRawSql: Deno.lint.Rule = {
  create(context) {
    if (roomOf(fileOf(context)) === null) return {};
    return {
      MemberExpression(node) {
        const { object, property } = node;
        if (object.type !== "Identifier" || object.name !== "sql") return;
        if (property.type !== "Identifier" || !["raw", "lit"].includes(property.name)) return;
        context.report({
          node,
          message:
            `sql.${property.name} puts text into a query: use a parameter, sql.ref or sql.id`,
        });
      },
    };
  },
};

/** Tests wait for conditions. The programs in `tests/fixtures/` play work that takes time. */
const noSleepInTests: Deno.lint.Rule = {
  create(context) {
    const file = fileOf(context);
    if (!file.startsWith("tests/") || /^tests\/(support|fixtures)\//.test(file)) return {};
    const sleeps = ["delay", "sleep", "pause", "setTimeout", "setInterval"];
    return {
      CallExpression(node) {
        const { callee } = node;
        if (callee.type !== "Identifier" || !sleeps.includes(callee.name)) return;
        context.report({
          node,
          message: `Tests wait for a condition by waitFor(), not for a time by ${callee.name}()`,
        });
      },
    };
  },
};

/** The small print: one way to write each thing. */
const oneWay: Deno.lint.Rule = {
  create(context) {
    function checkMember(node: Deno.lint.PropertyDefinition | Deno.lint.MethodDefinition): void {
      const isConstructor = node.type === "MethodDefinition" && node.kind === "constructor";
      if (!["private", "protected"].includes(node.accessibility ?? "") || isConstructor) return;
      context.report({ node, message: "Use #private: it is private at run time too" });
    }
    return {
      TSEnumDeclaration(node) {
        context.report({ node, message: "Use a union of strings instead of an enum" });
      },
      TSParameterProperty(node) {
        context.report({ node, message: "Declare the field, and assign it in the constructor" });
      },
      PropertyDefinition: checkMember,
      MethodDefinition: checkMember,
      "Program > VariableDeclaration > VariableDeclarator > ArrowFunctionExpression": report,
      "Program > ExportNamedDeclaration > VariableDeclaration > VariableDeclarator > ArrowFunctionExpression":
        report,
    };
    function report(node: Deno.lint.ArrowFunctionExpression): void {
      context.report({ node, message: "Use a function declaration at the top level" });
    }
  },
};

/** Whether the identifier is only a name behind a dot or before a colon, not a variable. */
function isMemberName(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  switch (parent.type) {
    case "MemberExpression":
      return parent.property === node && !parent.computed;
    case "Property":
      return parent.key === node && !parent.computed && !parent.shorthand;
    case "MethodDefinition":
    case "PropertyDefinition":
    case "TSPropertySignature":
    case "TSMethodSignature":
      return parent.key === node && !parent.computed;
    default:
      return false;
  }
}

const plugin: Deno.lint.Plugin = {
  name: "rooms",
  rules: {
    "clock": clock,
    "import-direction": importDirection,
    "no-bare-error": noBareError,
    "no-console": noConsole,
    "no-default-export": noDefaultExport,
    "no-export-star": noExportStar,
    "no-raw-sql": noRawSql,
    "no-sleep-in-tests": noSleepInTests,
    "one-way": oneWay,
    "portable": portable,
  },
};

// deno-lint-ignore rooms/no-default-export -- A lint plugin is what its module exports by default.
export default plugin;
