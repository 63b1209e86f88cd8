//! The children of every node of a raw parse tree.
//!
//! In: a node. Out: the nodes below it, appended in source order. Must never skip a child that can hold an expression,
//! a query or a relation, and must never touch the few typed lists that the grammar fills with other nodes than their
//! declared type (`GrantStmt.objects`, `CreateStatsStmt.relations`): the parser crate panics on those. They are read by
//! `grants.rs` and left out here. Nodes that only parse analysis makes are an error.
// TABLE: one arm for each node tag, no wildcard: a grammar with a new tag does not compile.

use super::parse::{CastNodeList, Node, NodeList};

/// Appends the children of `node` to `out`; an error for a tag that raw parsing never makes.
#[expect(clippy::too_many_lines, reason = "a table with an arm per node tag")]
pub(super) fn children<'a>(node: Node<'a>, out: &mut Vec<Node<'a>>) -> Result<(), AnalysisNode> {
    match node {
        Node::NodeList(n) => list(out, n),
        Node::Alias(n) => list(out, n.colnames()),
        Node::RangeVar(n) => one(out, n.alias().into()),
        Node::IntoClause(n) => {
            one(out, n.rel().into());
            list(out, n.col_names());
            list(out, n.options());
        }
        Node::GroupingFunc(n) => list(out, n.args()),
        Node::NamedArgExpr(n) => one(out, n.arg()),
        Node::BoolExpr(n) => list(out, n.args()),
        Node::SubLink(n) => {
            one(out, n.testexpr());
            list(out, n.oper_name());
            one(out, n.subselect());
        }
        Node::CaseExpr(n) => {
            one(out, n.arg());
            list(out, n.args());
            one(out, n.defresult());
        }
        Node::CaseWhen(n) => {
            one(out, n.expr());
            one(out, n.result());
        }
        Node::RowExpr(n) => list(out, n.args()),
        Node::CoalesceExpr(n) => list(out, n.args()),
        Node::MinMaxExpr(n) => list(out, n.args()),
        Node::XmlExpr(n) => {
            list(out, n.named_args());
            list(out, n.args());
        }
        Node::JsonReturning(n) => one(out, n.format().into()),
        Node::JsonValueExpr(n) => {
            one(out, n.raw_expr());
            one(out, n.format().into());
        }
        Node::JsonIsPredicate(n) => {
            one(out, n.expr());
            one(out, n.format().into());
        }
        Node::JsonBehavior(n) => one(out, n.expr()),
        Node::NullTest(n) => one(out, n.arg()),
        Node::BooleanTest(n) => one(out, n.arg()),
        Node::JoinExpr(n) => {
            one(out, n.larg());
            one(out, n.rarg());
            typed(out, n.using_clause());
            one(out, n.join_using_alias().into());
            one(out, n.quals());
            one(out, n.alias().into());
        }
        Node::TypeName(n) => {
            typed(out, n.names());
            list(out, n.typmods());
            list(out, n.array_bounds());
        }
        Node::ColumnRef(n) => list(out, n.fields()),
        Node::A_Expr(n) => {
            list(out, n.name());
            one(out, n.lexpr());
            one(out, n.rexpr());
        }
        Node::TypeCast(n) => {
            one(out, n.arg());
            one(out, n.type_name().into());
        }
        Node::CollateClause(n) => {
            one(out, n.arg());
            list(out, n.collname());
        }
        Node::FuncCall(n) => {
            list(out, n.funcname());
            list(out, n.args());
            typed(out, n.agg_order());
            one(out, n.agg_filter());
            one(out, n.over().into());
        }
        Node::A_Indices(n) => {
            one(out, n.lidx());
            one(out, n.uidx());
        }
        Node::A_Indirection(n) => {
            one(out, n.arg());
            list(out, n.indirection());
        }
        Node::A_ArrayExpr(n) => list(out, n.elements()),
        Node::ResTarget(n) => {
            list(out, n.indirection());
            one(out, n.val());
        }
        Node::MultiAssignRef(n) => one(out, n.source()),
        Node::SortBy(n) => {
            one(out, n.node());
            list(out, n.use_op());
        }
        Node::WindowDef(n) => {
            list(out, n.partition_clause());
            typed(out, n.order_clause());
            one(out, n.start_offset());
            one(out, n.end_offset());
        }
        Node::RangeSubselect(n) => {
            one(out, n.subquery());
            one(out, n.alias().into());
        }
        Node::RangeFunction(n) => {
            list(out, n.functions());
            one(out, n.alias().into());
            typed(out, n.coldeflist());
        }
        Node::RangeTableFunc(n) => {
            one(out, n.docexpr());
            one(out, n.rowexpr());
            list(out, n.namespaces());
            typed(out, n.columns());
            one(out, n.alias().into());
        }
        Node::RangeTableFuncCol(n) => {
            one(out, n.type_name().into());
            one(out, n.colexpr());
            one(out, n.coldefexpr());
        }
        Node::RangeTableSample(n) => {
            one(out, n.relation());
            list(out, n.method());
            list(out, n.args());
            one(out, n.repeatable());
        }
        Node::ColumnDef(n) => {
            one(out, n.type_name().into());
            one(out, n.raw_default());
            one(out, n.coll_clause().into());
            list(out, n.constraints());
            list(out, n.fdwoptions());
        }
        Node::TableLikeClause(n) => one(out, n.relation().into()),
        Node::IndexElem(n) => {
            one(out, n.expr());
            list(out, n.collation());
            list(out, n.opclass());
            list(out, n.opclassopts());
        }
        Node::DefElem(n) => one(out, n.arg()),
        Node::LockingClause(n) => list(out, n.locked_rels()),
        Node::XmlSerialize(n) => {
            one(out, n.expr());
            one(out, n.type_name().into());
        }
        Node::PartitionElem(n) => {
            one(out, n.expr());
            list(out, n.collation());
            list(out, n.opclass());
        }
        Node::PartitionSpec(n) => typed(out, n.part_params()),
        Node::PartitionBoundSpec(n) => {
            list(out, n.listdatums());
            list(out, n.lowerdatums());
            list(out, n.upperdatums());
        }
        Node::PartitionCmd(n) => {
            one(out, n.name().into());
            one(out, n.bound().into());
        }
        Node::GroupingSet(n) => list(out, n.content()),
        Node::WithClause(n) => typed(out, n.ctes()),
        Node::InferClause(n) => {
            list(out, n.index_elems());
            one(out, n.where_clause());
        }
        Node::OnConflictClause(n) => {
            one(out, n.infer().into());
            typed(out, n.target_list());
            one(out, n.where_clause());
        }
        Node::CTESearchClause(n) => list(out, n.search_col_list()),
        Node::CTECycleClause(n) => {
            list(out, n.cycle_col_list());
            one(out, n.cycle_mark_value());
            one(out, n.cycle_mark_default());
        }
        Node::CommonTableExpr(n) => {
            list(out, n.aliascolnames());
            one(out, n.ctequery());
            one(out, n.search_clause().into());
            one(out, n.cycle_clause().into());
        }
        Node::MergeWhenClause(n) => {
            one(out, n.condition());
            list(out, n.target_list());
            list(out, n.values());
        }
        Node::ReturningClause(n) => {
            typed(out, n.options());
            list(out, n.exprs());
        }
        Node::JsonOutput(n) => {
            one(out, n.type_name().into());
            one(out, n.returning().into());
        }
        Node::JsonArgument(n) => one(out, n.val().into()),
        Node::JsonFuncExpr(n) => {
            one(out, n.context_item().into());
            one(out, n.pathspec());
            list(out, n.passing());
            one(out, n.output().into());
            one(out, n.on_empty().into());
            one(out, n.on_error().into());
        }
        Node::JsonTablePathSpec(n) => one(out, n.string()),
        Node::JsonTable(n) => {
            one(out, n.context_item().into());
            one(out, n.pathspec().into());
            list(out, n.passing());
            typed(out, n.columns());
            one(out, n.on_error().into());
            one(out, n.alias().into());
        }
        Node::JsonTableColumn(n) => {
            one(out, n.type_name().into());
            one(out, n.pathspec().into());
            one(out, n.format().into());
            list(out, n.columns());
            one(out, n.on_empty().into());
            one(out, n.on_error().into());
        }
        Node::JsonKeyValue(n) => {
            one(out, n.key());
            one(out, n.value().into());
        }
        Node::JsonParseExpr(n) => {
            one(out, n.expr().into());
            one(out, n.output().into());
        }
        Node::JsonScalarExpr(n) => {
            one(out, n.expr());
            one(out, n.output().into());
        }
        Node::JsonSerializeExpr(n) => {
            one(out, n.expr().into());
            one(out, n.output().into());
        }
        Node::JsonObjectConstructor(n) => {
            typed(out, n.exprs());
            one(out, n.output().into());
        }
        Node::JsonArrayConstructor(n) => {
            typed(out, n.exprs());
            one(out, n.output().into());
        }
        Node::JsonArrayQueryConstructor(n) => {
            one(out, n.query());
            one(out, n.output().into());
            one(out, n.format().into());
        }
        Node::JsonAggConstructor(n) => {
            one(out, n.output().into());
            one(out, n.agg_filter());
            list(out, n.agg_order());
            one(out, n.over().into());
        }
        Node::JsonObjectAgg(n) => {
            one(out, n.constructor().into());
            one(out, n.arg().into());
        }
        Node::JsonArrayAgg(n) => {
            one(out, n.constructor().into());
            one(out, n.arg().into());
        }
        Node::RawStmt(n) => one(out, n.stmt()),
        Node::InsertStmt(n) => {
            one(out, n.relation().into());
            list(out, n.cols());
            one(out, n.select_stmt());
            one(out, n.on_conflict_clause().into());
            one(out, n.returning_clause().into());
            one(out, n.with_clause().into());
        }
        Node::DeleteStmt(n) => {
            one(out, n.relation().into());
            list(out, n.using_clause());
            one(out, n.where_clause());
            one(out, n.returning_clause().into());
            one(out, n.with_clause().into());
        }
        Node::UpdateStmt(n) => {
            one(out, n.relation().into());
            typed(out, n.target_list());
            one(out, n.where_clause());
            list(out, n.from_clause());
            one(out, n.returning_clause().into());
            one(out, n.with_clause().into());
        }
        Node::MergeStmt(n) => {
            one(out, n.relation().into());
            one(out, n.source_relation());
            one(out, n.join_condition());
            typed(out, n.merge_when_clauses());
            one(out, n.returning_clause().into());
            one(out, n.with_clause().into());
        }
        Node::SelectStmt(n) => {
            list(out, n.distinct_clause());
            one(out, n.into_clause().into());
            typed(out, n.target_list());
            list(out, n.from_clause());
            one(out, n.where_clause());
            list(out, n.group_clause());
            one(out, n.having_clause());
            list(out, n.window_clause());
            list(out, n.values_lists());
            typed(out, n.sort_clause());
            one(out, n.limit_offset());
            one(out, n.limit_count());
            typed(out, n.locking_clause());
            one(out, n.with_clause().into());
            one(out, n.larg().into());
            one(out, n.rarg().into());
        }
        Node::ReturnStmt(n) => one(out, n.returnval()),
        Node::CreateSchemaStmt(n) => {
            one(out, n.authrole().into());
            list(out, n.schema_elts());
        }
        Node::AlterTableStmt(n) => {
            one(out, n.relation().into());
            list(out, n.cmds());
        }
        Node::AlterTableCmd(n) => {
            one(out, n.newowner().into());
            one(out, n.def());
        }
        Node::AlterCollationStmt(n) => list(out, n.collname()),
        Node::AlterDomainStmt(n) => {
            list(out, n.type_name());
            one(out, n.def());
        }
        Node::GrantStmt(n) => {
            typed(out, n.privileges());
            typed(out, n.grantees());
            one(out, n.grantor().into());
        }
        Node::ObjectWithArgs(n) => {
            list(out, n.objname());
            list(out, n.objargs());
            typed(out, n.objfuncargs());
        }
        Node::AccessPriv(n) => typed(out, n.cols()),
        Node::GrantRoleStmt(n) => {
            list(out, n.granted_roles());
            list(out, n.grantee_roles());
            list(out, n.opt());
            one(out, n.grantor().into());
        }
        Node::AlterDefaultPrivilegesStmt(n) => {
            typed(out, n.options());
            one(out, n.action().into());
        }
        Node::CopyStmt(n) => {
            one(out, n.relation().into());
            one(out, n.query());
            list(out, n.attlist());
            typed(out, n.options());
            one(out, n.where_clause());
        }
        Node::VariableSetStmt(n) => list(out, n.args()),
        Node::CreateStmt(n) => {
            one(out, n.relation().into());
            list(out, n.table_elts());
            list(out, n.inh_relations());
            one(out, n.partbound().into());
            one(out, n.partspec().into());
            one(out, n.of_typename().into());
            list(out, n.options());
        }
        Node::Constraint(n) => {
            one(out, n.raw_expr());
            list(out, n.keys());
            list(out, n.including());
            list(out, n.exclusions());
            list(out, n.options());
            one(out, n.where_clause());
            one(out, n.pktable().into());
            list(out, n.fk_attrs());
            list(out, n.pk_attrs());
            list(out, n.fk_del_set_cols());
        }
        Node::CreateTableSpaceStmt(n) => {
            one(out, n.owner().into());
            list(out, n.options());
        }
        Node::AlterTableSpaceOptionsStmt(n) => list(out, n.options()),
        Node::AlterTableMoveAllStmt(n) => list(out, n.roles()),
        Node::CreateExtensionStmt(n) => typed(out, n.options()),
        Node::AlterExtensionStmt(n) => typed(out, n.options()),
        Node::AlterExtensionContentsStmt(n) => one(out, n.object()),
        Node::CreateFdwStmt(n) => {
            list(out, n.func_options());
            list(out, n.options());
        }
        Node::AlterFdwStmt(n) => {
            list(out, n.func_options());
            list(out, n.options());
        }
        Node::CreateForeignServerStmt(n) => list(out, n.options()),
        Node::AlterForeignServerStmt(n) => list(out, n.options()),
        Node::CreateUserMappingStmt(n) => {
            one(out, n.user().into());
            list(out, n.options());
        }
        Node::AlterUserMappingStmt(n) => {
            one(out, n.user().into());
            list(out, n.options());
        }
        Node::DropUserMappingStmt(n) => one(out, n.user().into()),
        Node::ImportForeignSchemaStmt(n) => {
            typed(out, n.table_list());
            list(out, n.options());
        }
        Node::CreatePolicyStmt(n) => {
            one(out, n.table().into());
            list(out, n.roles());
            one(out, n.qual());
            one(out, n.with_check());
        }
        Node::AlterPolicyStmt(n) => {
            one(out, n.table().into());
            list(out, n.roles());
            one(out, n.qual());
            one(out, n.with_check());
        }
        Node::CreateAmStmt(n) => list(out, n.handler_name()),
        Node::CreateTrigStmt(n) => {
            one(out, n.relation().into());
            list(out, n.funcname());
            typed(out, n.args());
            list(out, n.columns());
            one(out, n.when_clause());
            list(out, n.transition_rels());
            one(out, n.constrrel().into());
        }
        Node::CreateEventTrigStmt(n) => {
            typed(out, n.whenclause());
            list(out, n.funcname());
        }
        Node::CreatePLangStmt(n) => {
            list(out, n.plhandler());
            list(out, n.plinline());
            list(out, n.plvalidator());
        }
        Node::CreateRoleStmt(n) => typed(out, n.options()),
        Node::AlterRoleStmt(n) => {
            one(out, n.role().into());
            typed(out, n.options());
        }
        Node::AlterRoleSetStmt(n) => {
            one(out, n.role().into());
            one(out, n.setstmt().into());
        }
        Node::DropRoleStmt(n) => list(out, n.roles()),
        Node::CreateSeqStmt(n) => {
            one(out, n.sequence().into());
            list(out, n.options());
        }
        Node::AlterSeqStmt(n) => {
            one(out, n.sequence().into());
            list(out, n.options());
        }
        Node::DefineStmt(n) => {
            typed(out, n.defnames());
            list(out, n.args());
            typed(out, n.definition());
        }
        Node::CreateDomainStmt(n) => {
            typed(out, n.domainname());
            one(out, n.type_name().into());
            one(out, n.coll_clause().into());
            typed(out, n.constraints());
        }
        Node::CreateOpClassStmt(n) => {
            typed(out, n.opclassname());
            list(out, n.opfamilyname());
            one(out, n.datatype().into());
            typed(out, n.items());
        }
        Node::CreateOpClassItem(n) => {
            one(out, n.name().into());
            list(out, n.order_family());
            list(out, n.class_args());
            one(out, n.storedtype().into());
        }
        Node::CreateOpFamilyStmt(n) => typed(out, n.opfamilyname()),
        Node::AlterOpFamilyStmt(n) => {
            typed(out, n.opfamilyname());
            typed(out, n.items());
        }
        Node::DropStmt(n) => list(out, n.objects()),
        Node::TruncateStmt(n) => list(out, n.relations()),
        Node::CommentStmt(n) => one(out, n.object()),
        Node::SecLabelStmt(n) => one(out, n.object()),
        Node::DeclareCursorStmt(n) => one(out, n.query()),
        Node::IndexStmt(n) => {
            one(out, n.relation().into());
            typed(out, n.index_params());
            list(out, n.index_including_params());
            typed(out, n.options());
            one(out, n.where_clause());
        }
        Node::CreateStatsStmt(n) => {
            typed(out, n.defnames());
            typed(out, n.stat_types());
            list(out, n.exprs());
        }
        Node::StatsElem(n) => one(out, n.expr()),
        Node::AlterStatsStmt(n) => {
            typed(out, n.defnames());
            one(out, n.stxstattarget());
        }
        Node::CreateFunctionStmt(n) => {
            list(out, n.funcname());
            typed(out, n.parameters());
            one(out, n.return_type().into());
            typed(out, n.options());
            one(out, n.sql_body());
        }
        Node::FunctionParameter(n) => {
            one(out, n.arg_type().into());
            one(out, n.defexpr());
        }
        Node::AlterFunctionStmt(n) => {
            one(out, n.func().into());
            typed(out, n.actions());
        }
        Node::DoStmt(n) => typed(out, n.args()),
        Node::CallStmt(n) => one(out, n.funccall().into()),
        Node::RenameStmt(n) => {
            one(out, n.relation().into());
            one(out, n.object());
        }
        Node::AlterObjectDependsStmt(n) => {
            one(out, n.relation().into());
            one(out, n.object());
            one(out, n.extname().into());
        }
        Node::AlterObjectSchemaStmt(n) => {
            one(out, n.relation().into());
            one(out, n.object());
        }
        Node::AlterOwnerStmt(n) => {
            one(out, n.relation().into());
            one(out, n.object());
            one(out, n.newowner().into());
        }
        Node::AlterOperatorStmt(n) => {
            one(out, n.opername().into());
            typed(out, n.options());
        }
        Node::AlterTypeStmt(n) => {
            list(out, n.type_name());
            typed(out, n.options());
        }
        Node::RuleStmt(n) => {
            one(out, n.relation().into());
            one(out, n.where_clause());
            list(out, n.actions());
        }
        Node::TransactionStmt(n) => list(out, n.options()),
        Node::CompositeTypeStmt(n) => {
            one(out, n.typevar().into());
            typed(out, n.coldeflist());
        }
        Node::CreateEnumStmt(n) => {
            typed(out, n.type_name());
            typed(out, n.vals());
        }
        Node::CreateRangeStmt(n) => {
            typed(out, n.type_name());
            typed(out, n.params());
        }
        Node::AlterEnumStmt(n) => typed(out, n.type_name()),
        Node::ViewStmt(n) => {
            one(out, n.view().into());
            list(out, n.aliases());
            one(out, n.query());
            list(out, n.options());
        }
        Node::CreatedbStmt(n) => typed(out, n.options()),
        Node::AlterDatabaseStmt(n) => typed(out, n.options()),
        Node::AlterDatabaseSetStmt(n) => one(out, n.setstmt().into()),
        Node::DropdbStmt(n) => list(out, n.options()),
        Node::AlterSystemStmt(n) => one(out, n.setstmt().into()),
        Node::ClusterStmt(n) => {
            one(out, n.relation().into());
            typed(out, n.params());
        }
        Node::VacuumStmt(n) => {
            typed(out, n.options());
            typed(out, n.rels());
        }
        Node::VacuumRelation(n) => {
            one(out, n.relation().into());
            list(out, n.va_cols());
        }
        Node::ExplainStmt(n) => {
            one(out, n.query());
            typed(out, n.options());
        }
        Node::CreateTableAsStmt(n) => {
            one(out, n.query());
            one(out, n.into().into());
        }
        Node::RefreshMatViewStmt(n) => one(out, n.relation().into()),
        Node::LockStmt(n) => list(out, n.relations()),
        Node::ConstraintsSetStmt(n) => list(out, n.constraints()),
        Node::ReindexStmt(n) => {
            one(out, n.relation().into());
            typed(out, n.params());
        }
        Node::CreateConversionStmt(n) => {
            list(out, n.conversion_name());
            list(out, n.func_name());
        }
        Node::CreateCastStmt(n) => {
            one(out, n.sourcetype().into());
            one(out, n.targettype().into());
            one(out, n.func().into());
        }
        Node::CreateTransformStmt(n) => {
            one(out, n.type_name().into());
            one(out, n.fromsql().into());
            one(out, n.tosql().into());
        }
        Node::PrepareStmt(n) => {
            typed(out, n.argtypes());
            one(out, n.query());
        }
        Node::ExecuteStmt(n) => list(out, n.params()),
        Node::DropOwnedStmt(n) => list(out, n.roles()),
        Node::ReassignOwnedStmt(n) => {
            list(out, n.roles());
            one(out, n.newrole().into());
        }
        Node::AlterTSDictionaryStmt(n) => {
            typed(out, n.dictname());
            typed(out, n.options());
        }
        Node::AlterTSConfigurationStmt(n) => {
            typed(out, n.cfgname());
            list(out, n.tokentype());
            list(out, n.dicts());
        }
        Node::PublicationTable(n) => {
            one(out, n.relation().into());
            one(out, n.where_clause());
            list(out, n.columns());
        }
        Node::PublicationObjSpec(n) => one(out, n.pubtable().into()),
        Node::CreatePublicationStmt(n) => {
            typed(out, n.options());
            list(out, n.pubobjects());
        }
        Node::AlterPublicationStmt(n) => {
            typed(out, n.options());
            list(out, n.pubobjects());
        }
        Node::CreateSubscriptionStmt(n) => {
            list(out, n.publication());
            typed(out, n.options());
        }
        Node::AlterSubscriptionStmt(n) => {
            list(out, n.publication());
            typed(out, n.options());
        }
        Node::None
        | Node::MergeSupportFunc(_)
        | Node::SQLValueFunction(_)
        | Node::JsonFormat(_)
        | Node::SetToDefault(_)
        | Node::CurrentOfExpr(_)
        | Node::Integer(_)
        | Node::Float(_)
        | Node::Boolean(_)
        | Node::String(_)
        | Node::BitString(_)
        | Node::ParamRef(_)
        | Node::A_Const(_)
        | Node::RoleSpec(_)
        | Node::A_Star(_)
        | Node::ReturningOption(_)
        | Node::TriggerTransition(_)
        | Node::ATAlterConstraint(_)
        | Node::ReplicaIdentityStmt(_)
        | Node::VariableShowStmt(_)
        | Node::DropTableSpaceStmt(_)
        | Node::AlterEventTrigStmt(_)
        | Node::ClosePortalStmt(_)
        | Node::FetchStmt(_)
        | Node::NotifyStmt(_)
        | Node::ListenStmt(_)
        | Node::UnlistenStmt(_)
        | Node::LoadStmt(_)
        | Node::AlterDatabaseRefreshCollStmt(_)
        | Node::CheckPointStmt(_)
        | Node::DiscardStmt(_)
        | Node::DeallocateStmt(_)
        | Node::DropSubscriptionStmt(_) => {}
        Node::Bitmapset(_)
        | Node::TableFunc(_)
        | Node::Param(_)
        | Node::Aggref(_)
        | Node::WindowFunc(_)
        | Node::WindowFuncRunCondition(_)
        | Node::SubscriptingRef(_)
        | Node::FuncExpr(_)
        | Node::OpExpr(_)
        | Node::ScalarArrayOpExpr(_)
        | Node::SubPlan(_)
        | Node::AlternativeSubPlan(_)
        | Node::FieldSelect(_)
        | Node::FieldStore(_)
        | Node::CoerceViaIO(_)
        | Node::ArrayCoerceExpr(_)
        | Node::ConvertRowtypeExpr(_)
        | Node::CollateExpr(_)
        | Node::CaseTestExpr(_)
        | Node::ArrayExpr(_)
        | Node::RowCompareExpr(_)
        | Node::JsonConstructorExpr(_)
        | Node::JsonExpr(_)
        | Node::MergeAction(_)
        | Node::CoerceToDomain(_)
        | Node::CoerceToDomainValue(_)
        | Node::NextValueExpr(_)
        | Node::InferenceElem(_)
        | Node::ReturningExpr(_)
        | Node::TargetEntry(_)
        | Node::RangeTblRef(_)
        | Node::FromExpr(_)
        | Node::OnConflictExpr(_)
        | Node::Query(_)
        | Node::RangeTblEntry(_)
        | Node::RTEPermissionInfo(_)
        | Node::RangeTblFunction(_)
        | Node::TableSampleClause(_)
        | Node::WithCheckOption(_)
        | Node::SortGroupClause(_)
        | Node::WindowClause(_)
        | Node::RowMarkClause(_)
        | Node::SetOperationStmt(_)
        | Node::PartitionRangeDatum(_)
        | Node::PLAssignStmt(_)
        | Node::InlineCodeBlock(_)
        | Node::CallContext(_)
        | Node::Invalid(_) => return Err(AnalysisNode),
    }
    Ok(())
}

/// A node that only parse analysis makes stood in a raw tree.
#[derive(Debug)]
pub(super) struct AnalysisNode;

fn one<'a>(out: &mut Vec<Node<'a>>, node: Node<'a>) {
    if !matches!(node, Node::None) {
        out.push(node);
    }
}

fn list<'a>(out: &mut Vec<Node<'a>>, nodes: &'a NodeList) {
    for node in nodes {
        one(out, node);
    }
}

fn typed<'a, T>(out: &mut Vec<Node<'a>>, nodes: &'a CastNodeList<T>)
where
    &'a CastNodeList<T>: IntoIterator<Item = &'a T>,
    Node<'a>: From<&'a T>,
    T: 'a,
{
    out.extend(nodes.into_iter().map(Node::from));
}
