//! What to do with each node tag.
//!
//! In: a node and where it stands. Out: calls of the handlers. Must never have a wildcard: a tag that the grammar gains
//! does not compile, and one that raw parsing never makes is refused.
// TABLE: one arm for each node tag, in the order queries, utility, CREATE, ALTER, parts, analysis only.

use super::facts::{Effect, Object, Opaque, SettingReach, Verb};
use super::parse::{self, CastNodeList, Node, nodes};
use super::walk::{Place, Walk};
use super::{SqlError, alter, call, change, condition, define, names, operators, query, utility};

/// Takes a node apart, or hands it to what does.
#[expect(clippy::too_many_lines, clippy::unit_arg, reason = "a table with an arm of one line per node tag")]
pub(super) fn node<'a>(walk: &mut Walk<'a>, node: Node<'a>, place: Place) -> Result<(), SqlError> {
    match node {
        Node::SelectStmt(s) => query::select(walk, s, place),
        Node::InsertStmt(s) => done(query::insert(walk, s, place)),
        Node::UpdateStmt(s) => query::update(walk, s, place),
        Node::DeleteStmt(s) => done(query::delete(walk, s, place)),
        Node::MergeStmt(s) => query::merge(walk, s, place),
        Node::RangeVar(s) => walk.read(s, place),
        Node::ColumnRef(s) => done(query::column(walk, s, place)),
        Node::A_Expr(s) => condition::operator(walk, node, s, place),
        Node::CaseExpr(_) => condition::case(walk, node, place),
        Node::CoalesceExpr(s) => condition::coalesce(walk, node, s, place),
        Node::BoolExpr(s) => condition::boolean(walk, node, s, place),
        Node::TypeName(s) => {
            walk.out.types.extend(s.names().iter().filter_map(|name| name.sval()).next_back().map(str::to_owned));
            walk.push_children(node, place)
        }
        Node::A_Indirection(s) => query::fields(walk, s, place),
        Node::JoinExpr(s) => query::join(walk, s, place),
        Node::FuncCall(s) => call::function(walk, s, place),
        Node::RangeSubselect(s) => aliased(walk, node, s.alias(), Place { nested: true, ..place }),
        // How many rows a function gives, and what is in them, tells of its arguments.
        Node::RangeFunction(s) => aliased(walk, node, s.alias(), place.comparing()),
        Node::RangeTableFunc(s) => aliased(walk, node, s.alias(), place.comparing()),
        Node::JsonTable(s) => aliased(walk, node, s.alias(), place.comparing()),
        Node::SortBy(s) => {
            operators::used(walk, s.use_op())?;
            walk.push_children(node, place.comparing())
        }
        Node::SubLink(s) => {
            operators::used(walk, s.oper_name())?;
            walk.push_children(node, place)
        }
        Node::WindowDef(_) | Node::RangeTableSample(_) => walk.push_children(node, place.comparing()),
        Node::CopyStmt(s) => utility::copy(walk, s, place),
        Node::ExplainStmt(s) => done(utility::explain(walk, s, place)),
        Node::DeclareCursorStmt(s) => done(utility::declare(walk, s, place)),
        Node::FetchStmt(s) => done(utility::fetch(walk, s)),
        Node::ClosePortalStmt(s) => done(walk.verb(Verb::Close(owned(s.portalname())))),
        Node::PrepareStmt(s) => {
            walk.verb(Verb::Prepare(text(s.name())));
            walk.push(s.query(), place);
            Ok(())
        }
        Node::ExecuteStmt(s) => done(utility::execute(walk, s, place)),
        Node::DeallocateStmt(s) => done(walk.verb(Verb::Deallocate(owned(s.name())))),
        Node::CallStmt(s) => utility::call_procedure(walk, s, place),
        Node::DoStmt(_) => {
            walk.opaque(Opaque::CodeBlock);
            walk.ask_database(Effect::RunCode)
        }
        Node::VariableSetStmt(s) => utility::set(walk, s, SettingReach::Session),
        Node::VariableShowStmt(_) => Ok(()),
        Node::DiscardStmt(s) => utility::discard(walk, s),
        Node::TransactionStmt(s) => utility::transaction(walk, s),
        Node::ConstraintsSetStmt(_) => walk.ask_database(Effect::Set),
        Node::ListenStmt(s) => {
            walk.verb(Verb::Listen(text(s.conditionname())));
            walk.ask_database(Effect::Listen)
        }
        Node::UnlistenStmt(s) => done(walk.verb(Verb::Unlisten(owned(s.conditionname())))),
        Node::NotifyStmt(_) => walk.ask_database(Effect::Notify),
        Node::TruncateStmt(s) => alter::relations(walk, Effect::Truncate, s.relations()),
        Node::LockStmt(s) => alter::relations(walk, Effect::Lock, s.relations()),
        Node::VacuumStmt(s) => utility::vacuum(walk, s),
        Node::ClusterStmt(s) => utility::maintain(walk, s.relation()),
        Node::RefreshMatViewStmt(s) => utility::maintain(walk, s.relation()),
        Node::ReindexStmt(s) => utility::reindex(walk, s),
        Node::CheckPointStmt(_) => walk.ask_database(Effect::AlterSystem),
        Node::LoadStmt(_) => {
            walk.ask_database(Effect::ServerFile)?;
            walk.ask_database(Effect::RunCode)
        }
        Node::ReturnStmt(_) => walk.push_children(node, place),
        Node::CreateStmt(s) => define::table(walk, s, place),
        Node::CreateTableAsStmt(s) => define::table_as(walk, s, place),
        Node::ViewStmt(s) => define::view(walk, s, place),
        Node::IndexStmt(s) => define::index(walk, s, place),
        Node::CreateSchemaStmt(s) => define::schema(walk, s, place),
        Node::CreateFunctionStmt(s) => define::function(walk, s, place),
        Node::CreateTrigStmt(s) => define::trigger(walk, s, place),
        Node::RuleStmt(s) => define::rule(walk, s, place),
        Node::CreatePolicyStmt(s) => define::policy(walk, s, place),
        Node::CreateEventTrigStmt(s) => define::event_trigger(walk, s),
        Node::DefineStmt(s) => define::define(walk, s, place),
        Node::CreateExtensionStmt(s) => define::extension(walk, Effect::Create, s.extname()),
        Node::AlterExtensionStmt(s) => define::extension(walk, Effect::Alter, s.extname()),
        Node::AlterExtensionContentsStmt(s) => {
            alter::own(walk, "extension", &[s.extname().unwrap_or_default()])?;
            alter::object_of(walk, Effect::Alter, s.objtype, s.object())
        }
        Node::CreateFdwStmt(s) => define::connection(walk, Effect::Create, "foreign data wrapper", s.fdwname()),
        Node::AlterFdwStmt(s) => define::connection(walk, Effect::Alter, "foreign data wrapper", s.fdwname()),
        Node::CreateForeignServerStmt(s) => define::connection(walk, Effect::Create, "server", s.servername()),
        Node::AlterForeignServerStmt(s) => define::connection(walk, Effect::Alter, "server", s.servername()),
        Node::CreateUserMappingStmt(s) => define::connection(walk, Effect::Create, "user mapping", s.servername()),
        Node::AlterUserMappingStmt(s) => define::connection(walk, Effect::Alter, "user mapping", s.servername()),
        Node::DropUserMappingStmt(s) => define::connection(walk, Effect::Drop, "user mapping", s.servername()),
        Node::CreateSubscriptionStmt(s) => define::connection(walk, Effect::Create, "subscription", s.subname()),
        Node::AlterSubscriptionStmt(s) => define::connection(walk, Effect::Alter, "subscription", s.subname()),
        Node::DropSubscriptionStmt(s) => define::connection(walk, Effect::Drop, "subscription", s.subname()),
        Node::ImportForeignSchemaStmt(s) => {
            walk.out.secret = true;
            walk.ask(Effect::Create, Object::Schema(text(s.local_schema())))?;
            walk.opaque(Opaque::Names("IMPORT FOREIGN SCHEMA"));
            Ok(())
        }
        Node::CreatePublicationStmt(s) => define::publication(walk, Effect::Create, node, s.pubname(), place),
        Node::AlterPublicationStmt(s) => define::publication(walk, Effect::Alter, node, s.pubname(), place),
        Node::CreateRoleStmt(s) => define::role(walk, s.role()),
        Node::CreateTableSpaceStmt(s) => define::tablespace(walk, s),
        Node::CreateSeqStmt(s) => walk.ask_relation(Effect::Create, s.sequence()),
        Node::CreatedbStmt(s) => {
            change::of_copied_database(walk, s);
            walk.ask(Effect::Create, Object::Database(owned(s.dbname())))
        }
        Node::CreateAmStmt(s) => define::calling(walk, "access method", &[s.amname().unwrap_or_default()]),
        Node::CreatePLangStmt(s) => define::calling(walk, "language", &[s.plname().unwrap_or_default()]),
        Node::CreateDomainStmt(s) => {
            define::own(walk, "domain", &strings(s.domainname()))?;
            walk.push_children(node, place)
        }
        Node::CreateOpClassStmt(s) => define::calling(walk, "operator class", &strings(s.opclassname())),
        Node::CreateOpFamilyStmt(s) => define::calling(walk, "operator family", &strings(s.opfamilyname())),
        Node::CompositeTypeStmt(s) => define::own(walk, "type", &relation_parts(s.typevar())),
        Node::CreateEnumStmt(s) => define::own(walk, "type", &strings(s.type_name())),
        Node::CreateRangeStmt(s) => define::calling(walk, "type", &strings(s.type_name())),
        Node::CreateConversionStmt(s) => {
            define::calling(walk, "conversion", &names::parts(Node::NodeList(s.conversion_name())))
        }
        Node::CreateCastStmt(s) => define::calling(walk, "cast", &type_parts(s.targettype())),
        Node::CreateTransformStmt(s) => define::calling(walk, "transform", &type_parts(s.type_name())),
        Node::CreateStatsStmt(s) => alter::statistics(walk, Effect::Create, &strings(s.defnames())),
        Node::AlterTableStmt(s) => alter::table(walk, s, place),
        Node::DropStmt(s) => alter::drop(walk, s),
        Node::RenameStmt(s) => alter::rename(walk, s),
        Node::AlterOwnerStmt(s) => alter::changed(walk, s.object_type, s.relation(), s.object()),
        Node::AlterObjectSchemaStmt(s) => alter::schema(walk, s),
        Node::AlterObjectDependsStmt(s) => alter::changed(walk, s.object_type, s.relation(), s.object()),
        Node::CommentStmt(s) => alter::object_of(walk, Effect::Alter, s.objtype, s.object()),
        Node::SecLabelStmt(s) => alter::object_of(walk, Effect::Alter, s.objtype, s.object()),
        Node::GrantStmt(s) => alter::grant(walk, s),
        Node::GrantRoleStmt(s) => alter::grant_role(walk, s),
        Node::AlterDefaultPrivilegesStmt(s) => alter::default_privileges(walk, s),
        Node::AlterRoleStmt(s) => {
            walk.out.secret = true;
            alter::role(walk, s.role())
        }
        Node::AlterRoleSetStmt(s) => {
            alter::role(walk, s.role())?;
            utility::stored_set(walk, s.setstmt(), SettingReach::Role)
        }
        Node::DropRoleStmt(s) => alter::drop_roles(walk, s),
        Node::AlterDatabaseStmt(s) => walk.ask(Effect::Alter, Object::Database(owned(s.dbname()))),
        Node::AlterDatabaseRefreshCollStmt(s) => walk.ask(Effect::Alter, Object::Database(owned(s.dbname()))),
        Node::AlterDatabaseSetStmt(s) => {
            walk.ask(Effect::Alter, Object::Database(owned(s.dbname())))?;
            utility::stored_set(walk, s.setstmt(), SettingReach::Database)
        }
        Node::DropdbStmt(s) => walk.ask(Effect::Drop, Object::Database(owned(s.dbname()))),
        Node::AlterSystemStmt(s) => {
            walk.out.secret = true;
            walk.ask_database(Effect::AlterSystem)?;
            utility::stored_set(walk, s.setstmt(), SettingReach::System)
        }
        Node::DropOwnedStmt(s) => alter::owned(walk, Effect::Drop, s.roles()),
        Node::ReassignOwnedStmt(s) => alter::owned(walk, Effect::Alter, s.roles()),
        Node::AlterFunctionStmt(s) => {
            define::ask_function(walk, Effect::Alter, &s.func().map(|f| names::parts(f.into())).unwrap_or_default())?;
            define::function_options(walk, s.actions())
        }
        Node::AlterSeqStmt(s) => walk.ask_relation(Effect::Alter, s.sequence()),
        Node::Constraint(s) => {
            change::of_constraint(walk, s);
            walk.push_children(node, place)
        }
        Node::AlterPolicyStmt(s) => {
            define::hook(walk, "policy", s.table(), s.policy_name())?;
            change::of_policy(walk, s.table(), [s.qual(), s.with_check()]);
            walk.push(s.qual(), place.below());
            walk.push(s.with_check(), place.below());
            Ok(())
        }
        Node::AlterDomainStmt(s) => {
            alter::own(walk, "domain", &names::parts(Node::NodeList(s.type_name())))?;
            walk.push_children(node, place)
        }
        Node::AlterCollationStmt(s) => alter::own(walk, "collation", &names::parts(Node::NodeList(s.collname()))),
        Node::AlterEnumStmt(s) => alter::own(walk, "type", &strings(s.type_name())),
        Node::AlterTypeStmt(s) => alter::own(walk, "type", &names::parts(Node::NodeList(s.type_name()))),
        Node::AlterOperatorStmt(s) => {
            alter::own(walk, "operator", &s.opername().map(|o| names::parts(o.into())).unwrap_or_default())
        }
        Node::AlterOpFamilyStmt(s) => define::calling(walk, "operator family", &strings(s.opfamilyname())),
        Node::AlterStatsStmt(s) => alter::statistics(walk, Effect::Alter, &strings(s.defnames())),
        Node::AlterTSDictionaryStmt(s) => alter::own(walk, "text search dictionary", &strings(s.dictname())),
        Node::AlterTSConfigurationStmt(s) => alter::own(walk, "text search configuration", &strings(s.cfgname())),
        Node::AlterEventTrigStmt(s) => alter::own(walk, "event trigger", &[s.trigname().unwrap_or_default()]),
        Node::AlterTableSpaceOptionsStmt(s) => {
            alter::own(walk, "tablespace", &[s.tablespacename().unwrap_or_default()])
        }
        Node::AlterTableMoveAllStmt(s) => {
            alter::own(walk, "tablespace", &[s.orig_tablespacename().unwrap_or_default()])
        }
        Node::DropTableSpaceStmt(s) => {
            walk.ask(Effect::Drop, names::named("tablespace", &[s.tablespacename().unwrap_or_default()]))
        }
        Node::None => Ok(()),
        Node::NodeList(_)
        | Node::Alias(_)
        | Node::IntoClause(_)
        | Node::GroupingFunc(_)
        | Node::MergeSupportFunc(_)
        | Node::NamedArgExpr(_)
        | Node::CaseWhen(_)
        | Node::RowExpr(_)
        | Node::MinMaxExpr(_)
        | Node::SQLValueFunction(_)
        | Node::XmlExpr(_)
        | Node::JsonFormat(_)
        | Node::JsonReturning(_)
        | Node::JsonValueExpr(_)
        | Node::JsonIsPredicate(_)
        | Node::JsonBehavior(_)
        | Node::NullTest(_)
        | Node::BooleanTest(_)
        | Node::SetToDefault(_)
        | Node::CurrentOfExpr(_)
        | Node::Integer(_)
        | Node::Float(_)
        | Node::Boolean(_)
        | Node::String(_)
        | Node::BitString(_)
        | Node::ParamRef(_)
        | Node::A_Const(_)
        | Node::TypeCast(_)
        | Node::CollateClause(_)
        | Node::RoleSpec(_)
        | Node::A_Star(_)
        | Node::A_Indices(_)
        | Node::A_ArrayExpr(_)
        | Node::ResTarget(_)
        | Node::MultiAssignRef(_)
        | Node::RangeTableFuncCol(_)
        | Node::ColumnDef(_)
        | Node::TableLikeClause(_)
        | Node::IndexElem(_)
        | Node::DefElem(_)
        | Node::LockingClause(_)
        | Node::XmlSerialize(_)
        | Node::PartitionElem(_)
        | Node::PartitionSpec(_)
        | Node::PartitionBoundSpec(_)
        | Node::PartitionCmd(_)
        | Node::GroupingSet(_)
        | Node::WithClause(_)
        | Node::InferClause(_)
        | Node::OnConflictClause(_)
        | Node::CTESearchClause(_)
        | Node::CTECycleClause(_)
        | Node::CommonTableExpr(_)
        | Node::MergeWhenClause(_)
        | Node::ReturningOption(_)
        | Node::ReturningClause(_)
        | Node::TriggerTransition(_)
        | Node::JsonOutput(_)
        | Node::JsonArgument(_)
        | Node::JsonFuncExpr(_)
        | Node::JsonTablePathSpec(_)
        | Node::JsonTableColumn(_)
        | Node::JsonKeyValue(_)
        | Node::JsonParseExpr(_)
        | Node::JsonScalarExpr(_)
        | Node::JsonSerializeExpr(_)
        | Node::JsonObjectConstructor(_)
        | Node::JsonArrayConstructor(_)
        | Node::JsonArrayQueryConstructor(_)
        | Node::JsonAggConstructor(_)
        | Node::JsonObjectAgg(_)
        | Node::JsonArrayAgg(_)
        | Node::RawStmt(_)
        | Node::AlterTableCmd(_)
        | Node::ATAlterConstraint(_)
        | Node::ReplicaIdentityStmt(_)
        | Node::ObjectWithArgs(_)
        | Node::AccessPriv(_)
        | Node::CreateOpClassItem(_)
        | Node::StatsElem(_)
        | Node::FunctionParameter(_)
        | Node::VacuumRelation(_)
        | Node::PublicationTable(_)
        | Node::PublicationObjSpec(_) => walk.push_children(node, place),
        Node::Invalid(_) if parse::is_create_foreign_table(node) => define::foreign_table(walk),
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
        | Node::Invalid(_) => Err(SqlError::UnknownNode),
    }
}

/// A handler that cannot fail.
#[expect(clippy::unnecessary_wraps, reason = "so that each arm of the table is one line")]
fn done((): ()) -> Result<(), SqlError> {
    Ok(())
}

/// A node of FROM whose alias hides relations of the same name further out.
fn aliased<'a>(
    walk: &mut Walk<'a>,
    node: Node<'a>,
    alias: Option<&'a nodes::Alias>,
    place: Place,
) -> Result<(), SqlError> {
    query::bind(walk, alias, place);
    walk.push_children(node, place)
}

fn text(name: Option<&str>) -> String {
    name.unwrap_or_default().to_owned()
}

fn owned(name: Option<&str>) -> Option<String> {
    name.map(str::to_owned)
}

fn strings(list: &CastNodeList<nodes::String>) -> Vec<&str> {
    list.iter().filter_map(nodes::String::sval).collect()
}

fn type_parts(name: Option<&nodes::TypeName>) -> Vec<&str> {
    name.map(|t| names::parts(t.into())).unwrap_or_default()
}

fn relation_parts(rel: Option<&nodes::RangeVar>) -> Vec<&str> {
    rel.map(|r| [r.schemaname(), r.relname()].into_iter().flatten().collect()).unwrap_or_default()
}
